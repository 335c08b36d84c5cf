//! What the profiler says of each operator.

/// Over the profiled steps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operator {
    pub name: String,
    pub calls: u64,
    /// Without the operators it calls. Signed, because the profiler's clock may give a callee a hair more than its caller.
    pub self_ns: i64,
    /// With them.
    pub total_ns: i64,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "line {line} of the profiler's table is '{found}', expected a name, calls, self and total nanoseconds between \
     tabs; this is a bug in pinbench"
)]
pub struct TableError {
    line: usize,
    found: String,
}

/// The operators of a table as the profiler's shim writes it, those first that take most time by themselves.
pub fn parse(table: &str) -> Result<Vec<Operator>, TableError> {
    let operator = |(index, line): (usize, &str)| {
        operator(line).ok_or_else(|| TableError { line: index + 1, found: line.to_owned() })
    };
    let mut operators = table.lines().enumerate().map(operator).collect::<Result<Vec<_>, _>>()?;
    operators.sort_by(|a, b| b.self_ns.cmp(&a.self_ns).then_with(|| a.name.cmp(&b.name)));
    Ok(operators)
}

fn operator(line: &str) -> Option<Operator> {
    let mut fields = line.split('\t');
    let operator = Operator {
        name: fields.next().filter(|name| !name.is_empty())?.to_owned(),
        calls: fields.next()?.parse().ok()?,
        self_ns: fields.next()?.parse().ok()?,
        total_ns: fields.next()?.parse().ok()?,
    };
    fields.next().is_none().then_some(operator)
}

/// What all of them take by themselves, together.
pub fn self_ns(operators: &[Operator]) -> i64 {
    operators.iter().map(|operator| operator.self_ns).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_come_out_by_their_own_time_and_then_by_name() {
        let table = "aten::add\t4\t100\t120\naten::conv2d\t2\t-3\t9000\naten::mul\t1\t100\t100\naten::mkldnn\t2\t8000\t8500\n";
        let operators = parse(table).unwrap();
        let names: Vec<&str> = operators.iter().map(|operator| operator.name.as_str()).collect();
        assert_eq!(names, ["aten::mkldnn", "aten::add", "aten::mul", "aten::conv2d"]);
        assert_eq!((operators[1].calls, operators[1].total_ns), (4, 120));
        assert_eq!(self_ns(&operators), 8_197);
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn a_line_that_is_no_operator_is_named() {
        for line in
            ["aten::add", "aten::add\t1\t2", "aten::add\t1\t2\tx", "aten::add\t1\t2\t3\t4", "\t1\t2\t3"]
        {
            let error = parse(&format!("aten::mul\t1\t2\t3\n{line}\n")).unwrap_err().to_string();
            assert!(error.starts_with(&format!("line 2 of the profiler's table is '{line}'")), "{error}");
        }
    }
}

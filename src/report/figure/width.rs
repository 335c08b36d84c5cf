//! How much room letters take, which only a browser knows.

/// Pixels that `text` takes at most in bold small print: in DejaVu Sans, the widest of the fonts a page may be shown in.
pub(super) fn width(text: &str) -> i32 {
    let tenths = |letter: char| match letter {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '|' | '·' | ' ' => 48,
        '(' | ')' | '[' | ']' | '-' | '!' | 'f' | 'r' | 't' => 60,
        'm' | 'w' | 'M' | 'W' | '%' | '@' | '…' => 133,
        'A'..='Z' | '&' | '#' | '^' | '+' | '±' | '−' | '×' | '=' | '<' | '>' | '~' => 105,
        // Signs of Chinese, Japanese and Korean are as wide as they are high.
        '\u{1100}'..='\u{11ff}'
        | '\u{2e80}'..='\u{9fff}'
        | '\u{a960}'..='\u{d7ff}'
        | '\u{f900}'..='\u{ffef}' => 125,
        '\0'..='\x7f' => 86,
        _ => 96,
    };
    (text.chars().map(tenths).sum::<i32>() + 9) / 10
}

/// As much of the beginning and the end of `text` as fits into so many pixels, and a sign that there was more between: names
/// of arms begin alike, and differ where they end.
pub(super) fn shortened(text: &str, room: i32) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let room = room - width("…");
    let ends = text.char_indices().rev().map(|(start, _)| text[start..].trim_start());
    let end = ends.take_while(|end| width(end) <= room * 2 / 5).last().unwrap_or_default();
    let beginnings = text.char_indices().map(|(end, _)| text[..end].trim_end());
    let beginning = beginnings.take_while(|kept| width(kept) + width(end) <= room).last().unwrap_or_default();
    format!("{beginning}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cut_where_its_room_ends() {
        assert_eq!(shortened("64, square root", 200), "64, square root");
        let cut = shortened("memory kept between the steps", 80);
        assert!(cut.starts_with("mem") && cut.ends_with("ps") && width(&cut) <= 80, "{cut}");
        let tiles =
            ["2 × 2", "4 × 4"].map(|tile| shortened(&format!("CIFAR-10, relu, Winograd {tile}"), 150));
        assert_ne!(tiles[0], tiles[1]);
        assert_eq!(shortened("배치 크기", 1), "…");
        assert!(width("배치") >= 24, "letters as wide as high");
    }
}

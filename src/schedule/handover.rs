//! What an existing engine is given: a Slurm array script, or a line for GNU parallel. Text alone; pinbench submits nothing.

use crate::text::{plural, shell_word};

/// The commands' words are given as a shell takes them.
#[derive(Clone, PartialEq, Debug)]
pub struct Handover {
    /// Path of the program.
    pub program: String,
    /// Path of the manifest.
    pub manifest: String,
    pub store: String,
    pub tasks: usize,
    /// Processors of a task.
    pub threads: u32,
    /// Whether a task needs a GPU.
    pub gpu: bool,
    /// What the class of a run has in it that counts as done; `None` counts every run.
    pub class: Option<String>,
    /// Tasks under way at a time, at most; `None` leaves it to the engine.
    pub at_once: Option<u32>,
    /// Largest number of tasks in an array.
    pub part: usize,
    /// Seconds before its time limit at which a task is told to stop.
    pub notice_s: u32,
    /// Further options of `sbatch`, as name and value.
    pub options: Vec<(&'static str, String)>,
    /// The longest estimate, for people.
    pub longest: String,
}

impl Handover {
    /// `bash SCRIPT` submits what is not done, in as many arrays as it takes, and `sbatch` takes it as a script.
    ///
    /// `exec` puts pinbench where the batch shell was, which alone is told (`B:`). The limit's signal may come a minute early.
    pub fn slurm(&self) -> String {
        let [program, manifest, store] = self.words();
        let throttle = self.at_once.map_or(String::new(), |most| format!("%{most}"));
        let whole = match self.tasks {
            tasks if tasks > self.part => String::new(),
            tasks => format!("#SBATCH --array=0-{}{throttle}\n", tasks.saturating_sub(1)),
        };
        let more: String =
            self.options.iter().map(|(name, value)| format!("#SBATCH --{name}={value}\n")).collect();
        let gpu = if self.gpu { "#SBATCH --gres=gpu:1\n" } else { "" };
        let class =
            self.class.as_ref().map_or(String::new(), |part| format!(" --class {}", shell_word(part)));
        format!(
            "#!/bin/bash\n\
             #SBATCH --job-name=pinbench\n\
             {whole}\
             #SBATCH --cpus-per-task={threads}\n\
             {gpu}\
             #SBATCH --requeue\n\
             #SBATCH --open-mode=append\n\
             #SBATCH --signal=B:USR1@{notice}\n\
             #SBATCH --output=pinbench-%A_%a.log\n\
             {more}\
             # {tasks}, the longest estimated at {longest}. `bash` this file to submit what is not done, and again to go on.\n\
             if [ -z \"$SLURM_ARRAY_TASK_ID\" ]; then\n    \
                 set -o pipefail\n    \
                 {program} manifest {manifest} --missing --max-array {part}{class} --store {store} |\n        \
                     while read -r indices first; do\n            \
                         sbatch --array=\"$indices{throttle}\" --export=ALL,PINBENCH_FIRST=\"${{first:-0}}\" \"$0\" || exit\n        \
                     done\n    \
                 exit\n\
             fi\n\
             exec {program} run --manifest {manifest} --store {store} \\\n    \
                 --index \"$((${{PINBENCH_FIRST:-0}} + SLURM_ARRAY_TASK_ID))\"",
            threads = self.threads,
            notice = self.notice_s,
            tasks = plural(self.tasks, "training"),
            longest = self.longest,
            part = self.part,
        )
    }

    /// What is done ends at once, so that the same line goes on. Left to itself parallel kills a quarter of a second after it
    /// has told a task to end, which is too soon for a checkpoint; and without -q it hands the words to a shell once more.
    pub fn parallel(&self) -> String {
        let [program, manifest, store] = self.words();
        let jobs = match (self.at_once, self.gpu, self.threads) {
            (Some(most), ..) => format!(" --jobs {most}"),
            (None, true, _) => " --jobs 1".to_owned(),
            // Of the processors, and at least one task.
            (None, false, 2..) => format!(" --jobs {}%", 100 / self.threads),
            (None, false, _) => String::new(),
        };
        format!(
            "seq 0 {last} | parallel -q{jobs} --termseq TERM,60000,KILL,25 --joblog pinbench.joblog {program} run \
             --manifest {manifest} --store {store} --index {{}}",
            last = self.tasks.saturating_sub(1)
        )
    }

    fn words(&self) -> [String; 3] {
        [&self.program, &self.manifest, &self.store].map(|word| shell_word(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handover(tasks: usize) -> Handover {
        Handover {
            program: "/opt/pin bench/pinbench".to_owned(),
            manifest: "/s/m.json".to_owned(),
            store: "/s/runs".to_owned(),
            tasks,
            threads: 1,
            gpu: false,
            class: None,
            at_once: Some(2),
            part: 1001,
            notice_s: 180,
            options: vec![("partition", "cpu".to_owned()), ("time", "02:00:00".to_owned())],
            longest: "2 min".to_owned(),
        }
    }

    #[test]
    fn a_slurm_script_says_what_a_resumable_array_needs() {
        let script = handover(40).slurm();
        for line in [
            "#SBATCH --array=0-39%2",
            "#SBATCH --requeue",
            "#SBATCH --open-mode=append",
            "#SBATCH --signal=B:USR1@180",
            "#SBATCH --partition=cpu",
            "#SBATCH --time=02:00:00",
            "exec '/opt/pin bench/pinbench' run --manifest /s/m.json --store /s/runs \\",
        ] {
            assert!(script.lines().any(|found| found == line), "{line} in\n{script}");
        }
    }

    #[test]
    fn more_tasks_than_an_array_may_have_are_submitted_in_parts() {
        let script = handover(10_000).slurm();
        assert!(
            !script.contains("#SBATCH --array") && script.contains("--missing --max-array 1001"),
            "{script}"
        );
        assert!(script.contains("PINBENCH_FIRST=\"${first:-0}\""), "{script}");
    }

    #[test]
    fn what_a_task_needs_is_asked_for() {
        let other = Handover { at_once: None, threads: 4, class: Some("EPYC 7".to_owned()), ..handover(40) };
        assert!(other.parallel().starts_with("seq 0 39 | parallel -q --jobs 25% "), "{}", other.parallel());
        assert!(other.slurm().contains("--missing --max-array 1001 --class 'EPYC 7' --store /s/runs |"));
        let gpu = Handover { gpu: true, ..other };
        assert!(gpu.slurm().lines().any(|line| line == "#SBATCH --gres=gpu:1"), "{}", gpu.slurm());
        assert!(gpu.parallel().contains(" --jobs 1 "), "{}", gpu.parallel());
    }

    #[test]
    fn parallel_waits_for_a_checkpoint_before_it_kills() {
        let line = handover(40).parallel();
        assert!(line.starts_with("seq 0 39 | parallel -q --jobs 2 --termseq TERM,60000,KILL,25 "), "{line}");
        assert!(
            line.ends_with("'/opt/pin bench/pinbench' run --manifest /s/m.json --store /s/runs --index {}"),
            "{line}"
        );
    }
}

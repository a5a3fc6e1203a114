//! A folder of one's own, the binary, and what it printed.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

/// A temporary folder with a data directory in it.
pub(crate) struct Lab {
    folder: TempDir,
}

impl Lab {
    /// A data directory that has seen nothing.
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// A data directory that has learned `testdata/scenarios/baseline.pcap`.
    pub(crate) fn learned() -> Self {
        static FILES: OnceLock<Vec<(PathBuf, Vec<u8>)>> = OnceLock::new();
        let files = FILES.get_or_init(|| {
            let lab = Self::new();
            lab.learn(&testdata("scenarios/baseline.pcap")).succeeded();
            read_folder(&lab.data_dir())
        });
        let lab = Self::new();
        for (name, content) in files {
            let path = lab.data_dir().join(name);
            fs::create_dir_all(path.parent().expect("a file in a folder"))
                .and_then(|()| fs::write(&path, content))
                .expect("a writable temporary folder");
        }
        lab
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Writes a file beside the data directory.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).expect("a writable temporary folder");
        path
    }

    /// A path beside the data directory where nothing is yet.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `tidewaiter learn`.
    pub(crate) fn learn(&self, capture: &Path) -> Run {
        self.run("learn", [capture])
    }

    /// `tidewaiter replay --format json`, in the capture's own folder: what is printed names the
    /// file as given, and must not depend on where the repository lies.
    pub(crate) fn replay(&self, capture: &Path) -> Run {
        let (Some(folder), Some(file)) = (capture.parent(), capture.file_name()) else {
            panic!("{} is no file", capture.display());
        };
        // Where there are keys, the truth knows what they open.
        let keys = Path::new(file).with_extension("keys");
        let mut arguments = vec![OsStr::new("--format"), OsStr::new("json"), file];
        if folder.join(&keys).exists() {
            arguments.extend([OsStr::new("--keylog"), keys.as_os_str()]);
        }
        self.run_in(folder, "replay", arguments)
    }

    /// `tidewaiter COMMAND --data-dir … ARGUMENTS`.
    pub(crate) fn run<A: AsRef<OsStr>>(
        &self,
        command: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Run {
        self.run_in(self.folder.path(), command, arguments)
    }

    /// `tidewaiter COMMAND` and nothing else, in this folder.
    pub(crate) fn command(&self, command: &str) -> Command {
        let mut tidewaiter = Command::new(env!("CARGO_BIN_EXE_tidewaiter"));
        tidewaiter.env_remove("TIDEWAITER_DATA_DIR").env_remove("RUST_LOG");
        tidewaiter.arg(command).current_dir(self.folder.path()).stdin(Stdio::null());
        tidewaiter
    }

    fn run_in<A: AsRef<OsStr>>(
        &self,
        folder: &Path,
        command: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Run {
        let output = self
            .command(command)
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(arguments)
            .current_dir(folder)
            .output()
            .expect("the binary starts");
        Run {
            status: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// What one run of the binary gave.
#[derive(Debug)]
pub(crate) struct Run {
    /// `None` where a signal ended it.
    pub(crate) status: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Run {
    /// Exit status 0, or the test ends here.
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.status, Some(0), "stderr: {}", self.stderr);
        self
    }

    /// Exit status `status` and one line on standard error that names each of `clues`.
    #[track_caller]
    pub(crate) fn failed(self, status: i32, clues: &[&str]) {
        assert_eq!(self.status, Some(status), "stderr: {}", self.stderr);
        let lines: Vec<&str> = self.stderr.lines().collect();
        assert_eq!(lines.len(), 1, "one line, not: {}", self.stderr);
        self.names(clues);
    }

    /// Standard error names each of `clues`.
    #[track_caller]
    pub(crate) fn names(&self, clues: &[&str]) {
        let said = self.stderr.to_lowercase();
        for clue in clues {
            assert!(said.contains(&clue.to_lowercase()), "{clue:?} is not in: {}", self.stderr);
        }
    }

    /// Standard output, lines of JSON without `stats`, as printed.
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = std::str::from_utf8(&self.stdout).expect("UTF-8");
        let is_stats = |line: &&str| parse(line)["event_type"] == "stats";
        text.lines().filter(|line| !is_stats(line)).map(str::to_owned).collect()
    }

    /// The events of one type.
    pub(crate) fn events(&self, event_type: &str) -> Vec<Value> {
        let of_type = |event: &Value| event["event_type"] == event_type;
        self.lines().iter().map(|line| parse(line)).filter(of_type).collect()
    }

    /// Standard output as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

#[track_caller]
pub(crate) fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON: {error}: {line}"))
}

/// A path under `testdata/`.
pub(crate) fn testdata(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(path)
}

/// Runs `check` on every item, as many at a time as there are processors, and ends the test with all
/// complaints if there are any.
#[track_caller]
pub(crate) fn check_all<T: Sync>(items: &[T], check: impl Fn(&T) -> Vec<String> + Sync) {
    let complaints = Mutex::new(Vec::new());
    let next = Mutex::new(items.iter());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let Some(item) = next.lock().expect("no check panicked").next() else { break };
                    let found = check(item);
                    complaints.lock().expect("no check panicked").extend(found);
                }
            });
        }
    });
    let mut complaints = complaints.into_inner().expect("no check panicked");
    complaints.sort();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// All files in a folder and the folders in it, by their paths from there.
pub(crate) fn read_folder(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let entry = entry.expect("a readable folder");
        let name = PathBuf::from(entry.file_name());
        if entry.path().is_dir() {
            let below = read_folder(&entry.path());
            files.extend(below.into_iter().map(|(path, content)| (name.join(path), content)));
        } else {
            files.push((name, fs::read(entry.path()).expect("a readable file")));
        }
    }
    files
}

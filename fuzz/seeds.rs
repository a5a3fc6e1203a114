//! Writes the starting corpora: `seeds CAPTURE...` fills `corpus/TARGET/` below the current folder.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    for (target, _, seeds) in tw_exercise::TARGETS {
        let folder = Path::new("corpus").join(target);
        fs::create_dir_all(&folder)?;
        for capture in env::args_os().skip(1) {
            let name = Path::new(&capture).file_name().unwrap_or_default().to_string_lossy();
            for (number, seed) in seeds(&fs::read(&capture)?).iter().enumerate() {
                fs::write(folder.join(format!("{name}-{number}")), seed)?;
            }
        }
    }
    Ok(())
}

//! A progress bar on standard error for work that takes longer than a second; none where standard
//! error is no terminal.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Frames between two looks at how far the reading got.
const EVERY: u64 = 4096;

/// Shows how far reading got.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    started: std::time::Instant,
    frames: u64,
}

impl Progress {
    /// A bar that does not show yet.
    #[expect(
        clippy::disallowed_methods,
        reason = "wall time of the run, for the bar and the stats line"
    )]
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
            let style = "{bar:30} {percent:>3} %  {binary_bytes_per_sec}  {eta} left";
            bar.set_style(
                ProgressStyle::with_template(style)
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar
        });
        Self { bar, started: std::time::Instant::now(), frames: 0 }
    }

    /// Counts a frame; `position` gives bytes read and bytes in all.
    pub(crate) fn tick(&mut self, position: impl FnOnce() -> (u64, u64)) {
        self.frames += 1;
        let Some(bar) = &self.bar else { return };
        if !self.frames.is_multiple_of(EVERY) || self.started.elapsed() < Duration::from_secs(1) {
            return;
        }
        let (done, total) = position();
        if bar.is_hidden() {
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            bar.reset_elapsed();
        }
        bar.set_length(total);
        bar.set_position(done);
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// Wall time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

//! How a call that makes an image ended, from its answer and from the end of its connection.

use tw_model::{Caveat, Outcome, Timestamp};
use tw_proto::BodyEnd;

/// Grows an [`Outcome`]. Order of calls: `head`, `made_image` or `failed` at any time, `body_end`,
/// `conclude`.
#[derive(Default)]
pub(crate) struct Ending {
    status: Option<u16>,
    body: Option<BodyEnd>,
    made: bool,
    failed: bool,
    canceled: bool,
    /// Bytes of the answer are missing: they may have told how it ended.
    gap: bool,
    over: bool,
}

impl Ending {
    /// Status of the answer.
    pub(crate) const fn head(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// Status of the answer, once it is there.
    pub(crate) const fn status(&self) -> Option<u16> {
        self.status
    }

    /// The answer tells of an image.
    pub(crate) const fn made_image(&mut self, made: bool) {
        self.made = made;
    }

    /// The answer tells of an error.
    pub(crate) const fn failed(&mut self) {
        self.failed = true;
    }

    /// Bytes of the answer are missing.
    pub(crate) const fn gap(&mut self) {
        self.gap = true;
    }

    /// The client or the daemon took it back.
    pub(crate) const fn cancel(&mut self) {
        self.canceled = true;
    }

    /// The answer is over, which a cut says nothing of: then `ended` stays as it is.
    pub(crate) fn body_end(&mut self, end: BodyEnd, at: Timestamp, ended: &mut Timestamp) {
        self.body = Some(end);
        if end != BodyEnd::Cut {
            *ended = at;
        }
    }

    /// Would the end of the connection cancel it (Docker Engine API v1.43, ImageBuild: the build is
    /// canceled if the client drops the connection)? Not before an answer was seen: then the other
    /// direction may just not have been captured. Nor where bytes of the answer are missing.
    fn is_canceled_by(&self, client_gone: bool) -> bool {
        let open = matches!(self.body, None | Some(BodyEnd::Cut));
        let seen = self.status.is_some() && !self.gap;
        client_gone && open && seen && !self.made && !self.failed && !self.over
    }

    /// Nothing more will come. `gone`: when the connection was seen to end, if it was; unless the end
    /// was seen before (`seen`), that is then the last that was seen of it. What it weakens becomes a
    /// caveat.
    pub(crate) fn conclude(
        &mut self,
        seen: bool,
        gone: Option<Timestamp>,
        ended: &mut Timestamp,
        caveats: &mut Vec<Caveat>,
    ) {
        if let (false, Some(at)) = (seen, gone) {
            *ended = at;
        }
        for caveat in self.over(gone.is_some()) {
            add_caveat(caveats, caveat);
        }
    }

    /// Nothing more will come; gives what that weakens.
    fn over(&mut self, client_gone: bool) -> Vec<Caveat> {
        self.canceled |= self.is_canceled_by(client_gone);
        self.over = true;
        let mut caveats = Vec::new();
        if self.status.is_none() && self.body.is_none() {
            caveats.push(Caveat::OneDirection);
        }
        // A body that ends with its connection leaves open whether all of it came, but not that
        // the call is over.
        let closed = self.body == Some(BodyEnd::Closed) && client_gone;
        if !self.end_seen() && !closed {
            caveats.push(Caveat::EndUnseen);
        }
        caveats
    }

    /// The end was seen.
    pub(crate) fn end_seen(&self) -> bool {
        self.made || self.failed || self.canceled || self.body == Some(BodyEnd::Complete)
    }

    /// As far as known.
    pub(crate) fn outcome(&self) -> Outcome {
        let refused = self.status.is_some_and(|status| status >= 300);
        if self.failed || refused {
            Outcome::Failed
        } else if self.made {
            Outcome::Succeeded
        } else if self.canceled {
            Outcome::Canceled
        } else {
            Outcome::Unknown
        }
    }

    /// Sent elsewhere, or no such call: nothing was done.
    pub(crate) const fn was_not_taken(&self) -> bool {
        matches!(self.status, Some(300..=399 | 401 | 403 | 404 | 405 | 501))
    }
}

/// Each once, in their order.
pub(crate) fn add_caveat(caveats: &mut Vec<Caveat>, caveat: Caveat) {
    if let Err(place) = caveats.binary_search(&caveat) {
        caveats.insert(place, caveat);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(
        status: Option<u16>,
        body: Option<BodyEnd>,
        made: bool,
        gone: bool,
    ) -> (Outcome, bool, Vec<Caveat>) {
        let mut ending = Ending { status, body, made, ..Ending::default() };
        let caveats = ending.over(gone);
        (ending.outcome(), ending.end_seen(), caveats)
    }

    #[test]
    fn the_table() {
        use BodyEnd::{Closed, Complete, Cut};
        use Caveat::{EndUnseen, OneDirection};
        use Outcome::{Canceled, Failed, Succeeded, Unknown};
        assert_eq!(ending(Some(200), Some(Complete), true, true), (Succeeded, true, vec![]));
        assert_eq!(ending(Some(200), Some(Cut), true, true), (Succeeded, true, vec![]));
        assert_eq!(ending(Some(200), Some(Cut), false, true), (Canceled, true, vec![]));
        assert_eq!(ending(Some(200), Some(Cut), false, false), (Unknown, false, vec![EndUnseen]));
        assert_eq!(ending(Some(200), None, false, true), (Canceled, true, vec![]));
        assert_eq!(ending(Some(200), Some(Complete), false, true), (Unknown, true, vec![]));
        assert_eq!(ending(Some(200), Some(Closed), false, true), (Unknown, false, vec![]));
        assert_eq!(ending(Some(500), Some(Complete), false, true), (Failed, true, vec![]));
        assert_eq!(
            ending(None, None, false, true),
            (Unknown, false, vec![OneDirection, EndUnseen])
        );
    }
}

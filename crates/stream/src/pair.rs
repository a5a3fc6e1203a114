//! Per-direction pairs, without indexing.

use tw_model::Direction;

pub(crate) const fn of<T>(pair: &[T; 2], direction: Direction) -> &T {
    let [to_responder, to_opener] = pair;
    match direction {
        Direction::ToResponder => to_responder,
        Direction::ToOpener => to_opener,
    }
}

pub(crate) const fn of_mut<T>(pair: &mut [T; 2], direction: Direction) -> &mut T {
    let [to_responder, to_opener] = pair;
    match direction {
        Direction::ToResponder => to_responder,
        Direction::ToOpener => to_opener,
    }
}

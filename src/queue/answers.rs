//! The reply to a batch: what became of each entry. Deletes, visibility changes, sends and what is published are read alike.

use super::{Answer, Fault, Refusal};

/// A batch's answers, in the order of its entries, whose ids are their numbers.
///
/// An entry that the reply does not mention was not taken; of one that it names twice, the refusal counts.
pub(crate) fn in_order<D>(
    entries: usize,
    successful: impl IntoIterator<Item = (String, D)>,
    failed: impl IntoIterator<Item = (String, Refusal)>,
) -> Vec<Answer<D>> {
    let missing = || Err(Refusal { fault: Fault::Missing, sender_fault: false });
    let mut answers: Vec<_> = (0..entries).map(|_| missing()).collect();
    let mut set = |id: &str, to| {
        if let Some(answer) = id.parse().ok().and_then(|index: usize| answers.get_mut(index)) {
            *answer = to;
        }
    };
    successful.into_iter().for_each(|(id, done)| set(&id, Ok(done)));
    failed.into_iter().for_each(|(id, refusal)| set(&id, Err(refusal)));
    answers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Code;

    #[test]
    fn a_batch_s_answers_stand_in_the_order_of_its_entries() {
        let refusal = |id: &str| (id.to_owned(), Refusal::by("InternalError", false));
        let no = |fault| Err(Refusal { fault, sender_fault: false });
        let successful = ["3", "0", "9", "x", "1"].map(|id| (id.to_owned(), id));
        let answers = in_order(4, successful, [refusal("1"), refusal("77")]);
        assert_eq!(answers, [Ok("0"), no(Fault::Refused(Code::new("InternalError"))), no(Fault::Missing), Ok("3")]);
    }
}

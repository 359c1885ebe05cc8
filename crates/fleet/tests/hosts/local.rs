//! This machine as a host: the same agent as a child.

use crate::support::{local, scratch, tiny};

#[tokio::test]
async fn this_machine_says_what_it_is() {
    let scratch = scratch();
    let facts = local(scratch.path(), tiny()).facts().await.unwrap();
    assert_eq!(facts.kernel.name, "Linux");
    assert!(!facts.hostname.is_empty());
}

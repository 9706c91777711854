//! Nothing: the targets are in `tests/`, where cargo and cargo-bolero both find them.

//! Bytes of which some bits are not known.

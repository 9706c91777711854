//! Reports of every kind, small.


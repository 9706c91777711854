//! mxray-sys

//! mxray-rules

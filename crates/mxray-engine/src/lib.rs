//! mxray-engine

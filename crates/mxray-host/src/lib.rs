//! mxray-host

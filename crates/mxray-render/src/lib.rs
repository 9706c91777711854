//! mxray-render

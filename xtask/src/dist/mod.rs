pub fn make(_: &std::path::Path) -> Result<Vec<String>, crate::trouble::Trouble> {
    Ok(vec![])
}

use super::text;

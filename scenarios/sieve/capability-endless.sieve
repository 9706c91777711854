# The greeting's capabilities never end
plan: depth=ehlo
endless: "NOTIFY" "mailto"\r\n

# A quoted string without its end
plan: depth=ehlo
s: "IMPLEMENTATION" "x
endless: y

# Check the style of every R file of the checkout; .lintr says which rules.
found <- lapply(c("R", "tests", "scripts", "benchmarks"), lintr::lint_dir)
for (lints in found) if (length(lints)) print(lints)
count <- sum(lengths(found))
cat(sprintf("lintr: %d found\n", count))
quit(status = as.integer(count > 0))

library(testthat)
library(celloquy)

test_check("celloquy")

//go:build race

package verify_test

// raceDetector reports whether the race detector uses most of the memory.
const raceDetector = true

//go:build !race

package verify_test

// raceDetector says that memory is the race detector's, mostly.
const raceDetector = false

//go:build !race

package mercadopago

// raceDetector reports whether the race detector's own allocations count too.
const raceDetector = false

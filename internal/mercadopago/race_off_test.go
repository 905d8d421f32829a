//go:build !race

package mercadopago

// raceDetector says that the race detector's own allocations are counted too.
const raceDetector = false

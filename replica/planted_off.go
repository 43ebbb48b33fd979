//go:build !plantedbugs

package replica

func bug(plant) bool { return false }

package contenthash

import "golang.org/x/sys/cpu"

// hasKernel reports whether hashRounds can be used.
var hasKernel = cpu.X86.HasAVX2

// hashRounds adds at least one whole round of XXH3 to the state, and asks for as many bytes of next
// to be brought into the cache.
//
//go:noescape
func hashRounds(state *[8]uint64, data *byte, rounds int, secret *[192]byte, next *byte)

package contenthash

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// Partial is the hash of the beginning of a block whose rest is still in the making. It is for
// blocks that stay where they are until the end: nothing of them is copied, so that a part which
// is in the processor's nearest cache is hashed there. Its zero value is for the next block.
//
// Where the processor has no kernel for it, the whole block is hashed at the end.
type Partial struct {
	state [8]uint64
	bytes int // of the block that are in the state: whole rounds
}

// roundBytes is what XXH3 hashes between two changes of its state, which is all that a Partial
// takes at a time.
const roundBytes = 1024

// Stripes of a round, and how far the secret moves with each.
const (
	stripeBytes  = 64
	secretStride = 8
)

// Primes of XXH3, by its names.
const (
	prime32x1 = 0x9E3779B1
	prime32x2 = 0x85EBCA77
	prime32x3 = 0xC2B2AE3D
	prime64x1 = 0x9E3779B185EBCA87
	prime64x2 = 0xC2B2AE3D27D4EB4F
	prime64x3 = 0x165667B19E3779F9
	prime64x4 = 0x85EBCA77C2B2AE63
	prime64x5 = 0x27D4EB2F165667C5
)

// secret is that of XXH3 where no other one is given.
var secret = [192]byte{
	0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
	0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
	0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
	0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
	0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
	0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
	0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
	0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
	0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
	0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
	0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
	0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
}

// Reach hashes the block up to about that byte, as far as it is not hashed yet. Meanwhile as much
// of `next` is brought into the cache, if it is that long: hashing keeps the processor busy, and
// leaves memory idle.
func (p *Partial) Reach(block []byte, to int, next []byte) {
	// The last byte belongs to what Leaf hashes: the end of a block is hashed in another way.
	rounds := (min(to, len(block)-1) - p.bytes) / roundBytes
	if !hasKernel || rounds <= 0 {
		return
	}
	if p.bytes == 0 {
		p.state = [8]uint64{prime32x3, prime64x1, prime64x2, prime64x3, prime64x4, prime32x2, prime64x5, prime32x1}
	}
	data := block[p.bytes:]
	if len(next) < rounds*roundBytes {
		next = data
	}
	hashRounds(&p.state, unsafe.SliceData(data), rounds, &secret, unsafe.SliceData(next))
	p.bytes += rounds * roundBytes
}

// Leaf hashes the rest of the block, and begins the next one.
func (p *Partial) Leaf(block []byte) Leaf {
	defer func() { p.bytes = 0 }()
	p.Reach(block, len(block), nil)
	if p.bytes == 0 {
		return LeafOf(block)
	}
	rest, at := block[p.bytes:], 0
	for ; len(rest) > stripeBytes; at += secretStride {
		p.stripe(rest, at)
		rest = rest[stripeBytes:]
	}
	p.stripe(block[len(block)-stripeBytes:], len(secret)-stripeBytes-7)
	low := p.merge(11, uint64(len(block))*prime64x1)
	high := p.merge(len(secret)-stripeBytes-11, ^(uint64(len(block)) * prime64x2))
	var leaf Leaf
	binary.BigEndian.PutUint64(leaf[:8], high)
	binary.BigEndian.PutUint64(leaf[8:], low)
	return leaf
}

// stripe adds 64 bytes to the state.
func (p *Partial) stripe(data []byte, at int) {
	for i := range p.state {
		value := binary.LittleEndian.Uint64(data[8*i:])
		keyed := value ^ binary.LittleEndian.Uint64(secret[at+8*i:])
		p.state[i^1] += value
		p.state[i] += (keyed & 0xFFFFFFFF) * (keyed >> 32)
	}
}

// merge makes 64 bits of the state.
func (p *Partial) merge(at int, start uint64) uint64 {
	sum := start
	for i := 0; i < len(p.state); i += 2 {
		high, low := bits.Mul64(p.state[i]^binary.LittleEndian.Uint64(secret[at+8*i:]),
			p.state[i+1]^binary.LittleEndian.Uint64(secret[at+8*i+8:]))
		sum += high ^ low
	}
	sum ^= sum >> 37
	sum *= 0x165667919E3779F9
	return sum ^ sum>>32
}

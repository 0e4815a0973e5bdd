#include "textflag.h"

// AVX2. The state is in Y0 and Y1, Y15 is the multiplier of a round's end.

// HALF adds 32 bytes of a stripe to a half of the state.
#define HALF(data, key, state) \
	VMOVDQU  data, Y2           \
	VPXOR    key, Y2, Y3        \
	VPSRLQ   $32, Y3, Y4        \
	VPMULUDQ Y3, Y4, Y4         \
	VPSHUFD  $0x4E, Y2, Y2      \
	VPADDQ   Y4, state, state   \
	VPADDQ   Y2, state, state

// STRIPE adds the stripe of that number.
#define STRIPE(i) \
	PREFETCHT1 (i*64)(BX)                           \
	HALF((i*64)(SI), (i*8)(DX), Y0)                 \
	HALF((i*64+32)(SI), (i*8+32)(DX), Y1)

// SCRAMBLE ends a round for a half of the state.
#define SCRAMBLE(key, state) \
	VPSRLQ   $47, state, Y2   \
	VPXOR    Y2, state, state \
	VPXOR    key, state, state \
	VPSRLQ   $32, state, Y2   \
	VPMULUDQ Y15, state, state \
	VPMULUDQ Y15, Y2, Y2      \
	VPSLLQ   $32, Y2, Y2      \
	VPADDQ   Y2, state, state

// func hashRounds(state *[8]uint64, data *byte, rounds int, secret *[192]byte, next *byte)
TEXT ·hashRounds(SB), NOSPLIT, $0-40
	MOVQ state+0(FP), DI
	MOVQ data+8(FP), SI
	MOVQ rounds+16(FP), CX
	MOVQ secret+24(FP), DX
	MOVQ next+32(FP), BX
	MOVQ $0x9E3779B1, AX
	VMOVQ AX, X15
	VPBROADCASTQ X15, Y15
	VMOVDQU (DI), Y0
	VMOVDQU 32(DI), Y1

round:
	STRIPE(0)
	STRIPE(1)
	STRIPE(2)
	STRIPE(3)
	STRIPE(4)
	STRIPE(5)
	STRIPE(6)
	STRIPE(7)
	STRIPE(8)
	STRIPE(9)
	STRIPE(10)
	STRIPE(11)
	STRIPE(12)
	STRIPE(13)
	STRIPE(14)
	STRIPE(15)
	SCRAMBLE(128(DX), Y0)
	SCRAMBLE(160(DX), Y1)
	ADDQ $1024, SI
	ADDQ $1024, BX
	DECQ CX
	JNZ  round

	VMOVDQU Y0, (DI)
	VMOVDQU Y1, 32(DI)
	VZEROUPPER
	RET

#include "textflag.h"

// SSE, which each amd64 processor has. An addition rounds as the scalar one does, so the bits are
// those of the plain loop.

// func addBlocks(sum, left, right *float32, blocks int)
TEXT ·addBlocks(SB), NOSPLIT, $0-32
	MOVQ sum+0(FP), DI
	MOVQ left+8(FP), SI
	MOVQ right+16(FP), DX
	MOVQ blocks+24(FP), CX

add:
	MOVUPS (SI), X0
	MOVUPS 16(SI), X1
	MOVUPS 32(SI), X2
	MOVUPS 48(SI), X3
	MOVUPS (DX), X4
	MOVUPS 16(DX), X5
	MOVUPS 32(DX), X6
	MOVUPS 48(DX), X7
	ADDPS  X4, X0
	ADDPS  X5, X1
	ADDPS  X6, X2
	ADDPS  X7, X3
	MOVUPS X0, (DI)
	MOVUPS X1, 16(DI)
	MOVUPS X2, 32(DI)
	MOVUPS X3, 48(DI)
	ADDQ   $64, SI
	ADDQ   $64, DX
	ADDQ   $64, DI
	DECQ   CX
	JNZ    add
	RET

// func addFourBlocks(sum, a, b, c, d *float32, blocks int)
TEXT ·addFourBlocks(SB), NOSPLIT, $0-48
	MOVQ sum+0(FP), DI
	MOVQ a+8(FP), R8
	MOVQ b+16(FP), R9
	MOVQ c+24(FP), R10
	MOVQ d+32(FP), R11
	MOVQ blocks+40(FP), CX

addFour:
	MOVUPS (R8), X0
	MOVUPS 16(R8), X1
	MOVUPS 32(R8), X2
	MOVUPS 48(R8), X3
	MOVUPS (R9), X4
	MOVUPS 16(R9), X5
	MOVUPS 32(R9), X6
	MOVUPS 48(R9), X7
	ADDPS  X4, X0
	ADDPS  X5, X1
	ADDPS  X6, X2
	ADDPS  X7, X3
	MOVUPS (R10), X4
	MOVUPS 16(R10), X5
	MOVUPS 32(R10), X6
	MOVUPS 48(R10), X7
	MOVUPS (R11), X8
	MOVUPS 16(R11), X9
	MOVUPS 32(R11), X10
	MOVUPS 48(R11), X11
	ADDPS  X8, X4
	ADDPS  X9, X5
	ADDPS  X10, X6
	ADDPS  X11, X7
	ADDPS  X4, X0
	ADDPS  X5, X1
	ADDPS  X6, X2
	ADDPS  X7, X3
	MOVUPS X0, (DI)
	MOVUPS X1, 16(DI)
	MOVUPS X2, 32(DI)
	MOVUPS X3, 48(DI)
	ADDQ   $64, R8
	ADDQ   $64, R9
	ADDQ   $64, R10
	ADDQ   $64, R11
	ADDQ   $64, DI
	DECQ   CX
	JNZ    addFour
	RET

// func finiteBlocks(floats *float32, blocks int) bool
TEXT ·finiteBlocks(SB), NOSPLIT, $0-17
	MOVQ    floats+0(FP), SI
	MOVQ    blocks+8(FP), CX
	PCMPEQL X8, X8
	PSRLL   $24, X8
	PSLLL   $23, X8 // the bits of the exponent, all of which a NaN or an Inf has
	PXOR    X9, X9  // those that were found

finite:
	MOVUPS  (SI), X0
	MOVUPS  16(SI), X1
	MOVUPS  32(SI), X2
	MOVUPS  48(SI), X3
	PAND    X8, X0
	PAND    X8, X1
	PAND    X8, X2
	PAND    X8, X3
	PCMPEQL X8, X0
	PCMPEQL X8, X1
	PCMPEQL X8, X2
	PCMPEQL X8, X3
	POR     X1, X0
	POR     X3, X2
	POR     X0, X9
	POR     X2, X9
	ADDQ    $64, SI
	DECQ    CX
	JNZ     finite
	PMOVMSKB X9, AX
	TESTL   AX, AX
	SETEQ   ret+16(FP)
	RET

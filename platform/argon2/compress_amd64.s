#include "textflag.h"

// The block of 8 rows of 16 words stays in 16 registers. Register X of row pair r holds, of rows 2r and
// 2r+1, four words each: words 0-3 in A, 4-7 in B, 8-11 in C, 12-15 in D. So each group A, B, C, D of a
// pair is the 4x4 matrices that the permutation of two rows works on.
#define A0 Z0
#define A1 Z1
#define A2 Z2
#define A3 Z3
#define B0 Z4
#define B1 Z5
#define B2 Z6
#define B3 Z7
#define C0 Z8
#define C1 Z9
#define C2 Z10
#define C3 Z11
#define D0 Z12
#define D1 Z13
#define D2 Z14
#define D3 Z15

// MULADD: a += b + 2 * low(a) * low(b), of 32 bits each.
#define MULADD(a, b, t) \
	VPMULUDQ a, b, t; \
	VPADDQ b, a, a; \
	VPADDQ t, a, a; \
	VPADDQ t, a, a

#define XORROTATE(d, a, n) \
	VPXORQ a, d, d; \
	VPRORQ $n, d, d

// QUARTER is a line of GB (section 3.6), for four groups side by side.
#define QUARTER(a0, a1, a2, a3, b0, b1, b2, b3, d0, d1, d2, d3, n) \
	MULADD(a0, b0, Z16); \
	MULADD(a1, b1, Z17); \
	MULADD(a2, b2, Z18); \
	MULADD(a3, b3, Z19); \
	XORROTATE(d0, a0, n); \
	XORROTATE(d1, a1, n); \
	XORROTATE(d2, a2, n); \
	XORROTATE(d3, a3, n)

#define MIX(a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3) \
	QUARTER(a0, a1, a2, a3, b0, b1, b2, b3, d0, d1, d2, d3, 32); \
	QUARTER(c0, c1, c2, c3, d0, d1, d2, d3, b0, b1, b2, b3, 24); \
	QUARTER(a0, a1, a2, a3, b0, b1, b2, b3, d0, d1, d2, d3, 16); \
	QUARTER(c0, c1, c2, c3, d0, d1, d2, d3, b0, b1, b2, b3, 63)

// TURN turns the four words of each half.
#define TURN(n, x0, x1, x2, x3) \
	VPERMQ $n, x0, x0; \
	VPERMQ $n, x1, x1; \
	VPERMQ $n, x2, x2; \
	VPERMQ $n, x3, x3

// PERMUTE is P (section 3.6): the columns of each matrix, then its diagonals.
#define PERMUTE(a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3) \
	MIX(a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3); \
	TURN(0x39, b0, b1, b2, b3); \
	TURN(0x4e, c0, c1, c2, c3); \
	TURN(0x93, d0, d1, d2, d3); \
	MIX(a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3); \
	TURN(0x93, b0, b1, b2, b3); \
	TURN(0x4e, c0, c1, c2, c3); \
	TURN(0x39, d0, d1, d2, d3)

// LOAD reads two rows of a xor b.
#define LOAD(at, a, b, c, d) \
	VMOVDQU64 (at+0)(SI), Z16; \
	VMOVDQU64 (at+64)(SI), Z17; \
	VMOVDQU64 (at+128)(SI), Z18; \
	VMOVDQU64 (at+192)(SI), Z19; \
	VPXORQ (at+0)(DX), Z16, Z16; \
	VPXORQ (at+64)(DX), Z17, Z17; \
	VPXORQ (at+128)(DX), Z18, Z18; \
	VPXORQ (at+192)(DX), Z19, Z19; \
	VSHUFI64X2 $0x44, Z18, Z16, a; \
	VSHUFI64X2 $0xee, Z18, Z16, b; \
	VSHUFI64X2 $0x44, Z19, Z17, c; \
	VSHUFI64X2 $0xee, Z19, Z17, d

// SWAP exchanges the middle quarters of each: of words 0, 1, 2, 3 of two rows, those of the first column
// pair come to lie in one half, those of the second in the other.
#define SWAP(x0, x1, x2, x3) \
	VSHUFI64X2 $0xd8, x0, x0, x0; \
	VSHUFI64X2 $0xd8, x1, x1, x1; \
	VSHUFI64X2 $0xd8, x2, x2, x2; \
	VSHUFI64X2 $0xd8, x3, x3, x3

// STORE writes half a row from each of two registers' quarters, as they lie after SWAP, xor what LOAD has read and,
// where K1 says so, what was there.
#define STORE(at, x, y, quarters) \
	VSHUFI64X2 $quarters, y, x, Z16; \
	VPXORQ (at)(SI), Z16, Z16; \
	VPXORQ (at)(DX), Z16, Z16; \
	VPXORQ (at)(DI), Z16, K1, Z16; \
	VMOVDQU64 Z16, (at)(DI)

#define ROWS(at, a, b, c, d) \
	STORE(at+0, a, b, 0x88); \
	STORE(at+64, c, d, 0x88); \
	STORE(at+128, a, b, 0xdd); \
	STORE(at+192, c, d, 0xdd)

// func compress(out, a, b *block, add bool)
TEXT ·compress(SB), NOSPLIT, $0-25
	MOVQ out+0(FP), DI
	MOVQ a+8(FP), SI
	MOVQ b+16(FP), DX
	MOVBLZX add+24(FP), AX
	NEGL AX
	KMOVW AX, K1 // all words or none
	LOAD(0, A0, B0, C0, D0)
	LOAD(256, A1, B1, C1, D1)
	LOAD(512, A2, B2, C2, D2)
	LOAD(768, A3, B3, C3, D3)
	PERMUTE(A0, A1, A2, A3, B0, B1, B2, B3, C0, C1, C2, C3, D0, D1, D2, D3)

	// The column pairs are of words 0-3 in A0 to A3, of 4-7 in B0 to B3, and so on.
	SWAP(A0, A1, A2, A3)
	SWAP(B0, B1, B2, B3)
	SWAP(C0, C1, C2, C3)
	SWAP(D0, D1, D2, D3)
	PERMUTE(A0, B0, C0, D0, A1, B1, C1, D1, A2, B2, C2, D2, A3, B3, C3, D3)
	ROWS(0, A0, B0, C0, D0)
	ROWS(256, A1, B1, C1, D1)
	ROWS(512, A2, B2, C2, D2)
	ROWS(768, A3, B3, C3, D3)
	VZEROUPPER
	RET

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What action lists have the program remember: map `ovn_learnt`.  Like connections
 * it cannot be written anew from the databases, so it has a header of its own: as
 * long as that stays the same the map passes to a build with another layout.
 */
#ifndef OVN_BPF_LEARNT_LAYOUT_H
#define OVN_BPF_LEARNT_LAYOUT_H

#include "words.h"

/*
 * What OP_LEARN and OP_LEARNT are about (OVS's learn(), without its flows).
 *
 * HAIRPIN: OP_DATA has the address that the source becomes.  Remembered is that a
 * backend (the packet's source, here) answers to it, from the packet's destination
 * port if insn.b, else from any.  OP_LEARNT is asked about the answer; insn.c as
 * insn.b of OP_LEARN.
 *
 * LB_AFF: OP_DATA has a virtual address and a backend, each with its port; insn.dst
 * the protocol, 0 for any.  A client, the packet's source, is remembered for insn.b
 * seconds after its last packet.  OP_LEARNT puts the backend's address into OW_ARG_IP
 * (IPv4 in the last word, the others 0), its port into OW_ARG_PORT and the seconds
 * into OW_ARG_IDLE, all 0 when nothing is remembered.
 *
 * ECMP_NH: by which link-layer source a connection came; 20 seconds after its last
 * packet, at most 30.  OP_LEARNT asks about the other direction; about the same one,
 * from the same link-layer source, with ECMP_NH_MAC.
 */
enum ovn_learnt_kind {
	OVN_LEARNT_HAIRPIN = 1,
	OVN_LEARNT_LB_AFF,
	OVN_LEARNT_ECMP_NH,
	OVN_LEARNT_ECMP_NH_MAC,
};

/* Hash `ovn_learnt`, the oldest make room.  Words as in the packet's context. */
struct ovn_learnt_key {
	__u32 kind; /* enum ovn_learnt_kind */
	__u32 dp;
	__u32 src[4];
	__u32 dst[4];
	__u32 ports; /* src << 16 | dst; what does not matter is 0 */
	__u16 eth_type;
	__u16 proto;
	__u32 eth_src[2];
};
struct ovn_learnt {
	struct ovn_learnt_key key; /* repeated: see the top of tables.h */
	__u32 ip[4];
	__u32 port;
	__u32 idle; /* seconds after `seen` that it is good for; 0: for ever */
	__u32 hard; /* and after `born` */
	__u32 pad;
	__u64 seen; /* nanoseconds of CLOCK_BOOTTIME */
	__u64 born;
};

#endif

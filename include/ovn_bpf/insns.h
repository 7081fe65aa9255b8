/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a rule leads to: instructions, their operations and operands.
 */
#ifndef OVN_BPF_INSNS_H
#define OVN_BPF_INSNS_H

#include "words.h"

enum ovn_op {
	OP_END = 0,    /* end of the action list */
	OP_SET,	       /* w[dst] = w[dst] & ~a | b */
	OP_MOVE,       /* c bits: w[dst] >> a gets w[src] >> b */
	OP_NEXT,       /* go on in table aux of pipeline src (0 in, 1 out) */
	OP_OUTPUT,     /* OVN's output, by the pipeline we are in; a 1: as of an
			* ingress pipeline */
	OP_DROP,       /* drop, reason a (enum ovn_drop) */
	OP_CLONE,      /* run the next a instructions (the last is OP_END) on a
			 * copy, then go on after them with the original */
	OP_CALL,       /* run side table aux, then move OW_RESULT mask b to
			 * bit a of w[dst] (set if any bit of b is set; b 0:
			 * no result) */
	OP_ND_NA,      /* the packet, an NS, becomes the NA that answers it
			 * (a: the byte of flags, 0xe0 at most) */
	OP_DEC_TTL,    /* ip.ttl--, drop when it would be 0 */
	OP_CT_CLEAR,   /* forget connection state */
	OP_GET_FDB,    /* outport = FDB[dp, w[src..src+1]], 0 when unknown */
	OP_LOOKUP_FDB, /* bit a of w[dst] = FDB has w[src..src+1] at port w[b] */
	OP_PUT_FDB,    /* learn w[src..src+1] at port w[b] */
	OP_PUSH,       /* push c words from w[src] onto the field stack */
	OP_POP,	       /* pop c words to w[dst] */
	OP_MAC_GET,    /* OW_ARG_MAC = what was learnt of (OW_DP, OW_ARG_PORT,
			 * OW_ARG_IP), and OVN_RES_FOUND; nothing when unknown */
	OP_MAC_IS,     /* OVN_RES_FOUND if OW_ARG_MAC is what was learnt */
	OP_MAC_PUT,    /* learn OW_ARG_MAC */
	OP_MAC_USE,    /* the sender's binding, if it is in ovn_mac_used, is in use */
	OP_BIND_VPORT, /* tell the agent: port w[src] speaks for virtual port a */
	OP_REPLY,      /* the packet becomes what answers it: a, enum ovn_reply */
	OP_LARGER,     /* bit a of w[dst] = the frame, or the longest segment that
			* it will be cut into, has more than b bytes */
	OP_HASH,       /* w[dst] = one of 0..b-1, by a hash over a, enum
			* ovn_hash; the same for all packets of a connection's
			* direction */
	OP_PICK,       /* if w[src] < b: w[dst] = w[dst] & ~a | c, and w[src] is
			* used up: no later OP_PICK takes it */
	OP_QUEUE,      /* set_queue: the frame leaves with priority a */
	OP_CT,	       /* connection tracking: a, enum ovn_ct_action */
	OP_CT_LB,      /* one of a backends, by a hash over b (enum ovn_hash):
			* its address to OW_ARG_IP and its port, twice, to
			* OW_ARG_PORT.  c instructions of OP_DATA follow for each
			* (1 for IPv4, 2 for IPv6); it goes on after the last.
			* a 0: drop */
	OP_DATA,       /* not run.  IPv4: a address, b port.  IPv6: a, b, c the
			* first three words of the address; then a the fourth, b
			* the port */
	OP_LEARN,      /* remember what the packet tells: a, enum ovn_learnt_kind; c
			* instructions of OP_DATA follow */
	OP_LEARNT,     /* bit a of w[dst] = it is remembered; b, enum ovn_learnt_kind */
	OP_PUNT,       /* to the slow path: a, enum ovn_punt_verb; b, number of
			* its argument; c, mark of this list.  src: enum
			* ovn_punt_flag.  What comes back goes on behind it, the
			* answer in bit aux of w[dst] */
	OP_METER,      /* does the packet pass meter a << 32 | b?  If not, src: the
			* drop reason, or 0: c instructions are passed over */
	OP_LOG,	       /* a line in the log: b, number of what it says; src: there
			* is a meter in front of it */
	OP_SAMPLE,     /* tell of the packet with probability a / 65535: collector set
			* b, domain aux, point c, or with src w[dst] */
	OP_FLOOD,      /* flood_remote: a copy to each chassis of another region,
			* without an outport, unless it came through a tunnel */
	OP_QUOTED_SRC, /* icmp4.inner_ip4.src = b */
	OP_MAX,
};

/* What the slow path is asked to do. */
enum ovn_punt_verb {
	OVN_PUNT_NONE = 0, /* nothing: a test's */
	OVN_PUNT_DHCP,
	OVN_PUNT_DHCPV6,
	OVN_PUNT_RA,
	OVN_PUNT_DNS,
	OVN_PUNT_ARP,
	OVN_PUNT_ND_NS,
	OVN_PUNT_LOG,
	OVN_PUNT_IGMP,
	OVN_PUNT_SVC_CHECK,
	OVN_PUNT_BFD,
	OVN_PUNT_DHCPV6_REPLY,
	OVN_PUNT_EVENT,
	OVN_PUNT_RELAY_REQ,
	OVN_PUNT_RELAY_RESP,
};

enum ovn_punt_flag {
	OVN_PUNT_ANSWERS = 1 << 0, /* there is a bit to answer */
	OVN_PUNT_TRACED = 1 << 1,  /* the answer that a trace assumes */
};

/* What OP_HASH looks at. */
enum ovn_hash {
	OVN_HASH_IP_SRC = 1 << 0,
	OVN_HASH_IP_DST = 1 << 1,
	OVN_HASH_IP_PROTO = 1 << 2,
	OVN_HASH_L4_SRC = 1 << 3,
	OVN_HASH_L4_DST = 1 << 4,
	OVN_HASH_ETH_SRC = 1 << 5,
	OVN_HASH_ETH_DST = 1 << 6,
	OVN_HASH_IP6_LABEL = 1 << 7,
	OVN_HASH_5TUPLE = 0x1f,
};

/* What OP_REPLY makes of a packet; none that fits is a drop. */
enum ovn_reply {
	OVN_REPLY_RESET = 1 << 0, /* TCP gets a reset */
	OVN_REPLY_ERROR = 1 << 1, /* others an ICMP error, "host unreachable" */
	OVN_REPLY_PORT = 1 << 2,  /* UDP "port unreachable" */
	OVN_REPLY_SWAP = 1 << 3,  /* addressed to the sender; else the logical
				   * flow does that */
	OVN_REPLY_ABORT = 1 << 4, /* SCTP gets an abort */
};

/* Map `ovn_insns`: action lists, laid one after the other, each ended by
 * OP_END.  Equal lists are stored once. */
struct ovn_insn {
	__u8 op;
	__u8 dst;
	__u8 src;
	__u8 aux;
	__u32 a;
	__u32 b;
	__u32 c;
};

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The packet context as an array of 32-bit words: one place number for every
 * OVN field.  Read by the BPF program, by the C helpers and (through cffi) by
 * the compiler, so that a field has one home.
 *
 * A field wider than 32 bits takes consecutive words, most significant first,
 * its least significant bit at bit 0 of the last word: OVN's register overlap
 * (reg0 is the most significant word of xreg0 and of xxreg0) falls out of it.
 * Words hold host-order values.
 */
#ifndef OVN_BPF_WORDS_H
#define OVN_BPF_WORDS_H

enum ovn_word {
	OW_DP = 0,	   /* datapath: tunnel key, 24 bits ("metadata") */
	OW_REG0 = 1,	   /* reg0..reg9: words 1..10 */
	OW_FLAGS = 11,	   /* OVN's reg10: the MLF_* flags */
	OW_DNAT_ZONE = 12, /* reg11 */
	OW_SNAT_ZONE = 13, /* reg12 */
	OW_CT_ZONE = 14,   /* reg13: zone of the current logical port */
	OW_INPORT = 15,	   /* reg14: port tunnel key */
	OW_OUTPORT = 16,   /* reg15: port or multicast group tunnel key */
	OW_CT_STATE = 17,
	OW_CT_MARK = 18,
	OW_CT_LABEL = 19, /* 4 words */
	OW_CT_DST = 23,	  /* original destination, 4 words, IPv4 in the last */
	OW_CT_PORTS = 27, /* original ports: src << 16 | dst */
	OW_CT_PROTO = 28,
	OW_PKT_MARK = 29,
	OW_RESULT = 30, /* one-bit results of side tables, OVN_RES_* */
	OW_TMP = 31,	/* 4 words for exchanges; dead between actions */
	OW_ARG_IP = 31, /* OW_TMP as an argument: IPv4 is ::ffff:a.b.c.d */
	OW_ARG_PORT = 35,

	/* From here on: header fields.  The program keeps a copy of these words
	 * as they are in the packet ("wire") and stores the difference when a
	 * packet leaves. */
	OW_HEADERS = 36,
	OW_ETH_DST = 36,   /* 2 words: 16 + 32 bits */
	OW_ETH_SRC = 38,   /* 2 words */
	OW_ETH_TYPE = 40,  /* eth.type << 16 | vlan.tci (bit 12: present) */
	OW_IP = 41,	   /* proto << 24 | ttl << 16 | tos << 8 | frag */
	OW_IP_SRC = 42,	   /* 4 words; IPv4 and arp.spa in the last, others 0 */
	OW_IP_DST = 46,	   /* 4 words; IPv4 and arp.tpa in the last, others 0 */
	OW_L4_PORTS = 50,  /* src << 16 | dst; ICMP: type << 16 | code */
	OW_TCP_ARP = 51,   /* arp.op << 16 | tcp.flags (12 bits) */
	OW_IP6_LABEL = 52, /* 20 bits */
	OW_ND_TARGET = 53, /* 4 words */
	OW_ND_SLL = 57,	   /* 2 words; arp.sha */
	OW_ND_TLL = 59,	   /* 2 words; arp.tha */
	OW_END = 61,
	OW_ARG_MAC = 61,   /* 2 words; argument and answer of side tables */
	OW_ARG_IDLE = 62,  /* seconds: of an affinity */
	OW_ICMP_REST = 63, /* of an ICMP error: what follows its checksum */
	OVN_WORDS = 64,	   /* a power of two, so that an index can be masked */
};

/*
 * Words that only masks and keys of rules have: the number of a set that a field
 * of the packet is a member of.  A packet has as many values of such a word as
 * its field has memberships; ovn_mask.set says which a mask looks at, and while
 * it is tried their values lie in OW_TMP and the words behind it.
 */
enum ovn_set_word {
	OW_SETS = 64,
	OW_SET_SRC = 64,    /* address sets with ip4.src, ip6.src or arp.spa */
	OW_SET_DST = 65,    /* with ip4.dst, ip6.dst or arp.tpa */
	OW_SET_IN = 66,	    /* port groups with inport */
	OW_SET_OUT = 67,    /* with outport */
	OW_SET_TP_SRC = 68, /* ports of TCP, UDP and SCTP: what ranges leave */
	OW_SET_TP_DST = 69,
	OW_SET_ETH_SRC = 70, /* MACs: what exclusions leave */
	OW_SET_ETH_DST = 71,
	OVN_SET_WORDS = 8, /* a power of two */
};

/* Bits of OW_FLAGS: the numbers are OVN's (include/ovn/logical-fields.h). */
enum ovn_flag {
	MLF_ALLOW_LOOPBACK = 1 << 0,
	MLF_RCV_FROM_RAMP = 1 << 1,
	MLF_FORCE_SNAT_FOR_DNAT = 1 << 2,
	MLF_FORCE_SNAT_FOR_LB = 1 << 3,
	MLF_LOCAL_ONLY = 1 << 4,
	MLF_NESTED_CONTAINER = 1 << 5,
	MLF_LOCALPORT = 1 << 10,
	MLF_LOCALNET = 1 << 15,
	MLF_RX_FROM_TUNNEL = 1 << 16,
};

/* Bits of OW_RESULT: what a side table answers, moved to where the logical
 * flow wants it by the action that asked. */
enum ovn_result {
	OVN_RES_DROP = 1 << 0,	/* port security: the packet is not allowed */
	OVN_RES_FOUND = 1 << 1, /* lookup_fdb and friends */
};

/* Bits of the frag byte in OW_IP: ip.frag[0] and ip.frag[1]. */
enum ovn_frag {
	OVN_FRAG_ANY = 1,
	OVN_FRAG_LATER = 2,
};

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stages and their classification: masks, tuples, rules and the sets that add to
 * them.  compile writes them, csrc/bpf looks them up.
 */
#ifndef OVN_BPF_RULES_H
#define OVN_BPF_RULES_H

#include "slots.h"
#include "words.h"

/* Sizes of the key classes, in words: a key is (stage, mask, words). */
#define OVN_CLASS_S 8
#define OVN_CLASS_M 16
#define OVN_CLASS_L 40
#define OVN_CLASSES 3

/* A datapath owns this many consecutive stages: ingress tables at 0..63,
 * egress tables at 64..127.  The last tables of the ingress half hold the
 * side tables that the agent fills by itself. */
#define OVN_STAGES_PER_DP 128
#define OVN_EGRESS_BASE 64
#define OVN_TABLE_AGENT 52	      /* the first: flows have tables below */
#define OVN_TABLE_LB_HAIRPIN 52	      /* result OVN_RES_FOUND: hairpinned, original */
#define OVN_TABLE_LB_HAIRPIN_REPLY 53 /* the same, reply direction */
#define OVN_TABLE_SNAT_HAIRPIN 54     /* the SNAT to the VIP */
#define OVN_TABLE_LB_AFF 55	      /* result OVN_RES_FOUND: a backend that there is */
#define OVN_TABLE_MAC_BINDING 58
#define OVN_TABLE_MAC_LOOKUP 59
#define OVN_TABLE_IN_PORT_SEC 60
#define OVN_TABLE_OUT_PORT_SEC 61
#define OVN_TABLE_IN_PORT_SEC_ND 62 /* where IN_PORT_SEC sends ARP and ND */

#define OVN_MIN_MCGROUP 32768  /* outport keys from here on are groups */
#define OVN_FLOOD_REMOTE 65536 /* and that of no row: of all chassis of other regions */

/* Set words that one mask may look at: as many as OW_TMP has words. */
#define OVN_MASK_SETS 4

/* What is matched: map `ovn_masks`, immutable once used.  `word[i]` and
 * `mask[i]` beyond n are 0. */
struct ovn_mask {
	__u16 n;
	__u8 key_class;		 /* 0, 1, 2: OVN_CLASS_S, _M, _L */
	__u8 n_sets;		 /* set words that it looks at: */
	__u8 set[OVN_MASK_SETS]; /* word OW_SETS + set[i], as OW_TMP + i */
	__u8 word[OVN_CLASS_L];
	__u32 mask[OVN_CLASS_L];
};

/* Masks of one stage.  Each costs a packet a look-up: the bound only keeps that
 * from being endless.  Rules under further masks are refused. */
#define OVN_MAX_TUPLES 4096

/* One line of a stage's list, highest priority first: map `ovn_tuples`.  Where word
 * `word` of a packet, of which only `bits` count, is not `value`, no rule under the mask
 * matches, and none is looked up; bits 0: they have nothing in common. */
struct ovn_tuple {
	__u32 mask;	/* index in ovn_masks */
	__u32 max_prio; /* no rule under this mask has more */
	__u32 bits;
	__u32 value;
	__u32 word;
	__u32 pad;
};

/* A stage: map `ovn_stages`, index dp_index * OVN_STAGES_PER_DP + (egress ?
 * OVN_EGRESS_BASE : 0) + table.  The version with the greatest born <= the
 * packet's generation counts; born 0 is no version. */
struct ovn_stage_ver {
	__u32 born;
	__u32 first; /* of n_tuples lines in ovn_tuples */
	__u32 n_tuples;
	__u32 default_rule; /* class S slot of the match-all rule, or 0 */
	__u32 skip_to;	    /* the table to go on with instead, or 0 */
};

struct ovn_stage {
	struct ovn_stage_ver v[2];
};

/* Keys of the hash maps `ovn_idx_s`, `_m`, `_l`; the value is a __u32 slot of
 * `ovn_rules_s`, `_m`, `_l`. */
struct ovn_key_s {
	__u32 stage;
	__u32 mask;
	__u32 w[OVN_CLASS_S];
};
struct ovn_key_m {
	__u32 stage;
	__u32 mask;
	__u32 w[OVN_CLASS_M];
};
struct ovn_key_l {
	__u32 stage;
	__u32 mask;
	__u32 w[OVN_CLASS_L];
};

/* What a rule says, whatever its key's class. */
struct ovn_rule {
	struct ovn_slot slot;
	__u32 prio;
	__u32 pc;   /* first instruction in ovn_insns */
	__u32 flow; /* number of the logical flow, for counters and drops */
};
struct ovn_rule_s {
	struct ovn_rule rule;
	struct ovn_key_s key;
};
struct ovn_rule_m {
	struct ovn_rule rule;
	struct ovn_key_m key;
};
struct ovn_rule_l {
	struct ovn_rule rule;
	struct ovn_key_l key;
};

/*
 * Address sets and port groups stay sets: a rule names the set's number, and
 * what an address or a port is a member of is looked up here.  So rules do not
 * multiply with members, and a member more is an entry more, once.
 */
enum ovn_set_kind {
	OVN_SET_PORT = 1, /* value: datapath in v[0], port key in v[1] */
	OVN_SET_L4 = 2,	  /* value: a port of TCP, UDP or SCTP at the top of v[0] */
	OVN_SET_MAC = 3,  /* value: at the top of v[0] and v[1] */
	OVN_SET_IP4 = 4,  /* value: the address in v[0] */
	OVN_SET_IP6 = 6,  /* value: the address */
	OVN_SET_KINDS = 8,
};

/* Hash `ovn_set_idx`; the value is a slot of `ovn_sets`.  All prefix lengths in
 * use are tried, since several may match. */
struct ovn_set_key {
	__u16 kind;
	__u16 plen; /* of all but OVN_SET_PORT, there 0 */
	__u32 v[4]; /* host order, masked to plen */
};

#define OVN_SET_IDS 8 /* in one slot; longer lists go on in `more` */

/* Map `ovn_sets`: the sets that a value is a member of. */
struct ovn_set_list {
	struct ovn_slot slot;
	struct ovn_set_key key;
	__u32 n;    /* of ids here */
	__u32 more; /* slot with the rest, or 0 */
	__u32 ids[OVN_SET_IDS];
};

#define OVN_SET_PLENS 132 /* all of IPv6, in words */

/* Map `ovn_set_plens`, an element for each kind: prefix lengths that occur.  Only
 * ever grows: one too many costs a look-up, one too few would be wrong. */
struct ovn_set_plens {
	__u32 n;
	__u8 plen[OVN_SET_PLENS];
};

#endif

/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Every struct that crosses the map boundary.  One definition for the BPF
 * program, the C helpers and (through cffi) Python; a test proves that the
 * three see the same layout.
 *
 * Two patterns carry all the tables:
 *
 * - A *slot* is an element of an array map that is written once, while nobody
 *   can reach it, and reused only after an RCU grace period.  A hash map gives
 *   the slot's index and nothing else, because the memory of a hash element is
 *   reused at once: a reader may see another key's value.  The slot repeats its
 *   key, and the reader checks it.
 * - A slot lives for generations [born, dead).  A packet reads the generation
 *   once, at entry; `next` leads to the version before, or is 0.  Slot 0 of
 *   every array is never used.
 */
#ifndef OVN_BPF_TABLES_H
#define OVN_BPF_TABLES_H

#include "conntrack.h"
#include "learnt.h"
#include "meters.h"
#include "witness.h"
#include "words.h"

#define OVN_LAYOUT_VERSION 2

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

struct ovn_slot {
	__u32 born; /* first generation that sees this version; 0: never */
	__u32 dead; /* first generation that does not; ~0: still alive */
	__u32 next; /* slot of the version before, or 0 */
	__u32 pad;
};

/* The control block: element 0 of map `ovn_ctl`. */
struct ovn_ctl {
	__u32 generation;     /* what a packet that enters now obeys */
	__u32 layout;	      /* OVN_LAYOUT_VERSION */
	__u32 tunnel_mode;    /* enum ovn_tunnel_mode */
	__u32 tunnel_ifindex; /* collect-metadata netdev, 0 when inline */
	__u32 decap_flags;    /* kernel has BPF_F_ADJ_ROOM_DECAP_L3_* (6.3) */
	__u32 told;	      /* what was learnt until then the Southbound was told:
			       * seconds of CLOCK_BOOTTIME */
	__u32 missed;	      /* how often there was more to tell than a source may */
	__u32 pad;
};

enum ovn_tunnel_mode {
	OVN_TUNNEL_INLINE = 0,
	OVN_TUNNEL_NETDEV = 1,
};

/* --- classification ------------------------------------------------- */

/* What is matched: map `ovn_masks`, immutable once used.  `word[i]` and
 * `mask[i]` beyond n are 0. */
struct ovn_mask {
	__u16 n;
	__u8 key_class; /* 0, 1, 2: OVN_CLASS_S, _M, _L */
	__u8 sets;	/* bit i: looks at word OW_SETS + i, as OW_TMP + i */
	__u8 word[OVN_CLASS_L];
	__u32 mask[OVN_CLASS_L];
};

/* Masks of one stage.  Each costs a packet a look-up: the bound only keeps that
 * from being endless.  Rules under further masks are refused. */
#define OVN_MAX_TUPLES 4096

/* One line of a stage's list, highest priority first: map `ovn_tuples`. */
struct ovn_tuple {
	__u32 mask;	/* index in ovn_masks */
	__u32 max_prio; /* no rule under this mask has more */
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
	__u32 pad;
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
	__u32 pad;
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

/* --- sets --------------------------------------------------------------- */

/*
 * Address sets and port groups stay sets: a rule names the set's number, and
 * what an address or a port is a member of is looked up here.  So rules do not
 * multiply with members, and a member more is an entry more, once.
 */
enum ovn_set_kind {
	OVN_SET_IP4 = 4,  /* value: the address in v[0] */
	OVN_SET_IP6 = 6,  /* value: the address */
	OVN_SET_PORT = 1, /* value: datapath in v[0], port key in v[1] */
};

/* Hash `ovn_set_idx`; the value is a slot of `ovn_sets`.  All prefix lengths in
 * use are tried, since several may match. */
struct ovn_set_key {
	__u32 kind;
	__u32 plen; /* of addresses, otherwise 0 */
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

/* Map `ovn_set_plens`, one element: prefix lengths that occur.  Only ever
 * grows: one too many costs a look-up, one too few would be wrong. */
struct ovn_set_plens {
	__u32 n4;
	__u32 n6;
	__u8 plen4[OVN_SET_PLENS];
	__u8 plen6[OVN_SET_PLENS];
};

/* --- actions --------------------------------------------------------- */

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

/* --- ports, groups, chassis ------------------------------------------ */

enum ovn_port_kind {
	OVN_PORT_NONE = 0,   /* known, but nowhere: not bound by anybody */
	OVN_PORT_VIF = 1,    /* a device of ours: ifindex */
	OVN_PORT_REMOTE = 2, /* bound by another chassis: chassis */
	OVN_PORT_PATCH = 3,  /* peer_dp/peer_port, a jump in this program */
	OVN_PORT_ALIAS = 4,  /* chassisredirect, here: means peer_port */
};

enum ovn_port_flag {
	OVN_PORT_F_LOCALPORT = 1 << 0, /* never leaves this chassis */
	OVN_PORT_F_NESTED = 1 << 1,    /* container behind a VIF: vlan */
	OVN_PORT_F_GATEWAY = 1 << 2,   /* patch port of this chassis alone */
	OVN_PORT_F_RARP = 1 << 4,      /* nothing passes until the guest sends RARP, */
	OVN_PORT_F_GARP = 1 << 5,      /* or a gratuitous ARP, */
	OVN_PORT_F_NA = 1 << 6,	       /* or a neighbour advertisement */
	OVN_PORT_F_ASLEEP = 7 << 4,
};

/* Map `ovn_ports`, found through `ovn_port_idx` (struct ovn_port_key). */
struct ovn_port_key {
	__u32 dp;   /* datapath tunnel key */
	__u32 port; /* port tunnel key */
};

struct ovn_port {
	struct ovn_slot slot;
	struct ovn_port_key key;
	__u32 dp_index; /* first stage is dp_index * OVN_STAGES_PER_DP */
	__u32 kind;
	__u32 flags;
	__u32 ifindex; /* VIF */
	__u32 vlan;    /* nested container: VLAN id, otherwise 0 */
	__u32 ct_zone;
	__u32 chassis;	 /* REMOTE: index in ovn_chassis */
	__u32 peer_port; /* PATCH: with peer_dp, a key of ovn_port_idx */
	__u32 peer_dp;
	__u32 pad;
};

/* Hash `ovn_ifports`: which logical port a frame enters by; the value is a
 * slot of ovn_ports whose ifindex and vlan say the same. */
struct ovn_ifport_key {
	__u32 ifindex;
	__u32 vlan;
};

/* Map `ovn_mcgroups`, found through `ovn_mc_idx` (struct ovn_port_key, port
 * >= OVN_MIN_MCGROUP).  Members lie in ovn_members: first the n_local port
 * keys of this chassis, then the n_remote chassis indices. */
struct ovn_mcgroup {
	struct ovn_slot slot;
	struct ovn_port_key key;
	__u32 dp_index;
	__u32 first;
	__u32 n_local;
	__u32 n_remote;
	__u32 pad[2];
};

/* Map `ovn_datapaths`, index dp_index. */
struct ovn_datapath {
	__u32 key;   /* tunnel key; 0: unused */
	__u32 flags; /* enum ovn_datapath_flag */
	__u32 dnat_zone;
	__u32 snat_zone;
};

enum ovn_datapath_flag {
	OVN_DP_DECLARED = 1 << 0, /* the agent named it; else it is only used */
};

/* How to reach another chassis.  Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d,
 * network order.  MACs are 0 until the neighbour is known. */
struct ovn_tunnel {
	__u32 flags;   /* OVN_TUN_* */
	__u32 ifindex; /* underlay device the route leaves by */
	__u8 local[16];
	__u8 remote[16];
	__u8 src_mac[6];
	__u8 dst_mac[6];
	__u16 dst_port; /* host order */
	__u16 mtu;	/* of the underlay path, outer header included */
	__u8 tos;
	__u8 ttl;
	__u8 pad[2];
};

enum ovn_tunnel_flag {
	OVN_TUN_VALID = 1 << 0,
	OVN_TUN_IPV6 = 1 << 1,
	OVN_TUN_DF = 1 << 2,
	OVN_TUN_CSUM = 1 << 3,
	OVN_TUN_MAC = 1 << 4, /* src_mac and dst_mac are known */
};

/* Map `ovn_chassis`: t[live & 1] counts, the other one is being written. */
struct ovn_chassis {
	__u32 live;
	__u32 pad;
	struct ovn_tunnel t[2];
};

/* Hash `ovn_peers`: from whom tunnel packets are taken; value __u32 chassis
 * index.  Address as in struct ovn_tunnel. */
struct ovn_peer_key {
	__u8 addr[16];
};

/* Hash `ovn_fdb`: where a MAC was seen; learnt by the program. */
struct ovn_fdb_key {
	__u32 dp;
	__u8 mac[6];
	__u8 pad[2];
};
struct ovn_fdb {
	struct ovn_fdb_key key; /* repeated: see the top of this file */
	__u32 port;
	__u32 seen; /* when it was learnt here, seconds of CLOCK_BOOTTIME; or 0 */
	__u32 used; /* when lookup_fdb() found it last; or 0 */
};

/* Hash `ovn_macs`: link-layer addresses of neighbours, learnt by the program
 * from put_arp and put_nd.  IPv4 as ::ffff:a.b.c.d; host-order words. */
struct ovn_mac_key {
	__u32 dp;
	__u32 port;
	__u32 ip[4];
};
struct ovn_mac {
	struct ovn_mac_key key; /* repeated: see the top of this file */
	__u32 mac[2];		/* 16 + 32 bits */
	__u32 seen;		/* seconds of CLOCK_BOOTTIME */
};

/*
 * What the program has just found out, for the agent to tell the Southbound (perf
 * event array `ovn_news`).  What is learnt and finds no reader or no room is in the
 * maps all the same; the rest the guest says again.
 */
enum ovn_news_kind {
	OVN_NEWS_MAC = 1, /* in ovn_macs */
	OVN_NEWS_FDB,	  /* in ovn_fdb */
	OVN_NEWS_VPORT,	  /* bind_vport: `port` speaks for virtual port `vport` */
	OVN_NEWS_AWAKE,	  /* a port that sleeps, OVN_PORT_F_ASLEEP, speaks */
};

struct ovn_news {
	__u64 at;    /* nanoseconds of CLOCK_MONOTONIC */
	__u32 kind;  /* enum ovn_news_kind */
	__u32 group; /* the frame was for a group: other chassis saw it, too */
	__u32 dp;
	__u32 port;
	__u32 vport;
	__u32 ip[4]; /* of OVN_NEWS_MAC */
	__u32 mac[2];
	__u32 pad;
};

/* --- accounting ------------------------------------------------------ */

/* Why a packet ended.  Names are shown to operators: keep them in step with
 * ovn_bpf_controller/datapath/reasons.py (a test compares). */
enum ovn_drop {
	DROP_NONE = 0,
	DROP_ACTION,	    /* a logical flow says drop */
	DROP_NO_FLOW,	    /* no flow of the table matches */
	DROP_UNSUPPORTED,   /* the flow that matches has a verb we lack */
	DROP_MALFORMED,	    /* headers shorter or longer than the frame */
	DROP_NO_PORT,	    /* the device is no logical port's */
	DROP_NO_OUTPORT,    /* the logical port is not known here */
	DROP_NOT_BOUND,	    /* the logical port is bound nowhere */
	DROP_LOOPBACK,	    /* outport is inport and loopback is not allowed */
	DROP_TTL,	    /* ip.ttl-- would reach 0 */
	DROP_STEPS,	    /* more steps than OVN_MAX_STEPS */
	DROP_DEPTH,	    /* work stack full */
	DROP_MEMBERS,	    /* multicast group larger than the bound */
	DROP_STORE,	    /* the packet could not be rewritten */
	DROP_REDIRECT,	    /* the kernel refused the output device */
	DROP_TUN_HEADER,    /* Geneve or VXLAN header that we cannot read */
	DROP_TUN_OPTION,    /* OVN's Geneve option missing or wrong */
	DROP_TUN_SENDER,    /* tunnel packet from an unknown address */
	DROP_TUN_VNI,	    /* tunnel packet for an unknown datapath or port */
	DROP_TUN_PEER,	    /* no tunnel to the chassis of the outport */
	DROP_TUN_ENCAP,	    /* encapsulation failed */
	DROP_TUN_NEIGH,	    /* underlay next hop has no known MAC */
	DROP_TOO_BIG,	    /* does not fit the tunnel; sender was told */
	DROP_TOO_BIG_QUIET, /* does not fit, and nobody could be told */
	DROP_REENTRY,	    /* program re-entered deeper than it can */
	DROP_BUG,	    /* a table points nowhere: agent or program wrong */
	DROP_LOCALPORT,	    /* localport traffic that would leave the chassis */
	DROP_NO_REPLY,	    /* a reply that must not or cannot be sent */
	DROP_SETS,	    /* member of more sets than OVN_MAX_SETS */
	DROP_CT_FULL,	    /* no room for a connection, or the zone's limit */
	DROP_CT_NAT,	    /* no free address and port to translate to */
	DROP_CT_FRAG,	    /* later fragment whose first one was not seen */
	DROP_CT_RACE,	    /* another packet committed the tuple just now */
	DROP_NO_BACKEND,    /* a load balancer without backends */
	DROP_NO_SLOWPATH,   /* nobody serves the slow path */
	DROP_PUNT_RATE,	    /* more for the slow path than a source may have */
	DROP_PUNT_FULL,	    /* the slow path is behind */
	DROP_PUNT_BIG,	    /* longer than the slow path takes */
	DROP_PUNT_STALE,    /* came back when its flow had gone */
	DROP_NO_PROGRAM,    /* the program that goes on is not there */
	DROP_METER,	    /* set_meter: above its rate */
	DROP_COPP,	    /* the flow's controller_meter: above its rate */
	DROP_ASLEEP,	    /* the guest has not moved here yet */
	DROP_MAX,
};

/* Map `ovn_drops`, per CPU, index enum ovn_drop; `ovn_port_stats` likewise. */
struct ovn_count {
	__u64 packets;
	__u64 bytes;
};

/* Map `ovn_flows`, per CPU: counts of the flows with the numbers n * page + i.
 * Several to an element, as the kernel takes long to make many small ones. */
#define OVN_FLOW_PAGE 64
struct ovn_flow_page {
	struct ovn_count c[OVN_FLOW_PAGE];
};

/* LRU hash `ovn_drop_flows`, per CPU, of struct ovn_count: which packets on
 * their walk ended where. */
struct ovn_drop_key {
	__u32 reason; /* enum ovn_drop */
	__u32 dp;     /* tunnel key */
	__u32 flow;   /* number of the logical flow, 0: none matched */
	__u32 table;  /* 0..127, looked up last */
};

/* Map `ovn_work`, per CPU, one element: what the walks cost. */
struct ovn_work {
	__u64 packets;
	__u64 stages; /* looked up */
	__u64 probes; /* hash look-ups for them */
};

/* --- programs --------------------------------------------------------- */

/* Map `ovn_calls`: the programs that others end in, by a tail call. */
enum ovn_call {
	OVN_CALL_RUN = 0, /* ovn_run */
	OVN_CALL_SERVE,	  /* ovn_serve */
	OVN_CALL_MAX,
};

/* --- slow path -------------------------------------------------------- */

/*
 * A packet on its way to the slow path, in front of its frame (perf event array
 * `ovn_punts`), and on its way back (map `ovn_resume_ctl`, the frame by
 * PROG_TEST_RUN of ovn_resume).  Header words are the frame's, so only the others
 * count on the way back.
 */
struct ovn_punt {
	__u64 at;      /* nanoseconds of CLOCK_MONOTONIC when it came; back: unused */
	__u32 verb;    /* what is asked for */
	__u32 arg;     /* of which argument */
	__u32 mark;    /* of the list: another one has taken its place if it differs */
	__u32 pc;      /* of the OP_PUNT; back, 0: begin in `table` instead, or with
			* output to OW_OUTPORT if that is OVN_PUNT_OUTPUT */
	__u32 egress;  /* pipeline, 0 ingress, 1 egress */
	__u32 table;   /* 0..127 */
	__u32 flow;    /* number of the logical flow */
	__u32 queue;   /* skb->priority */
	__u32 ifindex; /* device of the VIF that it came from, or 0 */
	__u32 off;     /* where the frame begins in what follows */
	__u32 len;     /* of what follows */
	__u32 answer;  /* back: the bit */
	__u32 w[OVN_WORDS];
};

#define OVN_PUNT_RATE 200  /* packets a second that one source may have there, */
#define OVN_PUNT_BURST 100 /* and at once */
#define OVN_PUNT_OUTPUT 128
#define OVN_MAX_PUNT 3500 /* bytes of a frame; PROG_TEST_RUN takes a page */

/* BFD has a rate of its own: its packets are small, come by the clock, and many peers may
 * be behind one port. */
#define OVN_BFD_RATE 2000
#define OVN_BFD_BURST 200

enum ovn_pace {
	OVN_PACE_PUNT = 0, /* packets for the slow path */
	OVN_PACE_LOG,	   /* lines in the log, of log() without a meter */
	OVN_PACE_BFD,	   /* packets of handle_bfd_msg() */
};

/* LRU hash `ovn_punt_rate`: what a source has left. */
struct ovn_punt_source {
	__u32 ifindex; /* of a VIF, dp and port 0 then */
	__u32 dp;
	__u32 port;
	__u32 kind; /* enum ovn_pace */
};
struct ovn_punt_bucket {
	__u64 at;    /* nanoseconds of CLOCK_MONOTONIC */
	__u64 spare; /* nanoseconds' worth of packets */
};

/* --- answers without the slow path ------------------------------------ */

/*
 * What the agent has made ready, so that OP_PUNTs are answered in the kernel.  What
 * is not here is for the slow path; so is what a bound forbids.  `first` and `last`
 * differ in a value that is being overwritten, and both change with each write.
 */

#define OVN_TEMPLATE_BYTES 512

/* Hash `ovn_templates`: a message, by verb and argument. */
struct ovn_template_key {
	__u32 verb;
	__u32 arg;
	__u32 variant; /* enum ovn_template_variant, several */
};

enum ovn_template_variant {
	OVN_TEMPLATE_PLAIN = 0,
	OVN_TEMPLATE_IPXE = 1 << 0,   /* of DHCP: for a client that says so */
	OVN_TEMPLATE_INFORM = 1 << 1, /* of DHCP: for a client that has its address */
	OVN_TEMPLATE_VARIANTS = 4,
};

struct ovn_template {
	struct ovn_template_key key;
	__u32 means; /* of PLAIN: byte v, where variant v is to be found */
	__u64 first;
	__u32 offer;	   /* DHCP: the address */
	__u32 next_server; /* DHCP: or 0, the request's */
	__u32 len;	   /* DHCP: of the options behind the type; RA: of it all */
	__u32 pad;
	__u8 bytes[OVN_TEMPLATE_BYTES];
	__u64 last;
};

#define OVN_NAME_BYTES 128 /* of a name on the wire that is looked up here */
#define OVN_NAME_ADDRS 16  /* addresses of each family */

/* Hash `ovn_names`: DNS, by the name in lower case as on the wire, zeroes behind it.
 * With no name at all (the first byte is 0): all of the datapath's names are here. */
struct ovn_name_key {
	__u32 dp;
	__u8 name[OVN_NAME_BYTES];
};

enum ovn_name_flag {
	OVN_NAME_OWNED = 1 << 0,  /* what else there may be is refused */
	OVN_NAME_ADDR = 1 << 1,	  /* it has addresses, or none: n4, n6 */
	OVN_NAME_PTR = 1 << 2,	  /* it can be a PTR record: ptr_len */
	OVN_NAME_MORE = 1 << 3,	  /* more addresses than fit: for the slow path */
	OVN_NAME_LONGER = 1 << 4, /* a PTR record longer than fits: likewise */
};

struct ovn_name {
	struct ovn_name_key key;
	__u32 flags; /* enum ovn_name_flag */
	__u64 first;
	__u32 n4;
	__u32 n6;
	__u32 ptr_len;
	__u32 pad;
	__u8 ip4[OVN_NAME_ADDRS][4];
	__u8 ip6[OVN_NAME_ADDRS][16];
	__u8 ptr[OVN_NAME_BYTES];
	__u64 last;
};

/* Map `ovn_served`, per CPU, of struct ovn_count: 2 * verb, and + 1 for packets that
 * went on with answer 0. */
#define OVN_SERVED 64

/* --- trace ------------------------------------------------------------ */

/* What a walk tells when it is only tried (program ovn_trace). */
enum ovn_trace_kind {
	TRACE_NONE = 0,
	TRACE_MATCH,  /* the rule that matched in a table */
	TRACE_DROP,   /* a branch ended; reason says why */
	TRACE_DEVICE, /* out of a local port's device */
	TRACE_REMOTE, /* to another chassis */
	TRACE_PATCH,  /* over a patch port into dp, as its port */
	TRACE_EGRESS, /* into the egress pipeline, for port */
	TRACE_CLONE,  /* a copy begins here */
	TRACE_LEARN,  /* would have learnt a MAC address for port */
	TRACE_INSN,   /* about to execute the instruction at pc */
};

#define OVN_TRACE_EVENTS 16384

/* Map `ovn_trace_log`, in order of time. */
struct ovn_trace_event {
	__u32 kind;
	__u32 table; /* 0..127, as in stages */
	__u32 flow;  /* number of the logical flow that did it */
	__u32 prio;
	__u32 pc;
	__u32 port;    /* logical port key */
	__u32 chassis; /* index in ovn_chassis */
	__u32 reason;  /* enum ovn_drop */
	__u32 dp;
	__u32 egress;
	__u32 na;	    /* a neighbour advertisement: its flags, << 24, | 1 */
	__u32 nested;	    /* work items that were waiting */
	__u32 w[OVN_WORDS]; /* the context at this moment */
};

#define OVN_TRACE_CTS 32 /* --ct options of a trace */

/* Map `ovn_trace_ctl`, one element: the packet to try, and how many events.
 *
 * With n_ct states given, connection tracking answers them one after the other
 * and "established" from then on, as ovn-trace does; with none, the tracker is
 * asked, and changes nothing. */
struct ovn_trace_ctl {
	__u32 events;  /* more than OVN_TRACE_EVENTS: the rest is lost */
	__u32 remote;  /* 0: enters by inport; 1: from a tunnel, for outport */
	__u32 n_ct;    /* of ct[] */
	__u32 used_ct; /* taken so far */
	__u32 lb;      /* there is a backend to prefer (--lb-dst) */
	__u32 lb_ip[4];
	__u32 lb_port;		 /* 0: the packet's, where no list says it */
	__u32 select_id;	 /* what select chooses where it can; 0: as it would */
	__u32 length;		 /* of the frame, for check_pkt_larger */
	__u32 ct[OVN_TRACE_CTS]; /* enum ovn_ct_state */
	__u32 w[OVN_WORDS];
};

#endif

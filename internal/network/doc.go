// Package network is what a container's network is made of, for all who speak of it: the client,
// which reads flags; the supervisor, which keeps what they say; and the programs that carry the
// bytes. It holds nouns and grammars and does nothing: no packet, no socket.
//
//	ports.go     published ports and the grammar of -p
//	addresses.go mac.go  who has which address in a private network
//	choice.go    what --network can say
//	foreign.go   programs of others that carry packets
//	message.go   what the network program is told
//	flow.go      what it tells
package network

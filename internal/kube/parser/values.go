// Quantities: numbers with a unit; and how many of several things there are.

package parser

import (
	"math/big"
	"regexp"
	"strings"
)

// number is the API reference's Quantity: a decimal number with a suffix of the SI, of IEC, or an
// exponent.
var number = regexp.MustCompile(`^\+?([0-9]+\.?[0-9]*|\.[0-9]+)(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,2}))?$`)

var suffixes = map[string]*big.Rat{"": big.NewRat(1, 1), "n": big.NewRat(1, 1e9), "u": big.NewRat(1, 1e6), "m": big.NewRat(1, 1e3)}

func init() {
	for i, s := range []string{"k", "M", "G", "T", "P", "E"} {
		power := func(base int64) *big.Rat {
			return new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(base), big.NewInt(int64(i)+1), nil))
		}
		suffixes[s], suffixes[strings.ToUpper(s)+"i"] = power(1000), power(1024)
	}
}

// quantityOf reads a quantity in thousandths, rounded up. It is above 0 and fits into 63 bits.
func quantityOf(s string) (int64, bool) {
	m := number.FindStringSubmatch(s)
	if m == nil || len(s) > 40 {
		return 0, false
	}
	digits := m[1]
	if m[3] != "" {
		digits += "e" + m[3]
	}
	v, ok := new(big.Rat).SetString(digits)
	if !ok {
		return 0, false
	}
	v.Mul(v, suffixes[m[2]]).Mul(v, big.NewRat(1000, 1))
	whole, rest := new(big.Int).QuoRem(v.Num(), v.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		whole.Add(whole, big.NewInt(1))
	}
	return whole.Int64(), whole.IsInt64() && whole.Sign() > 0
}

// count is how many are true.
func count(all ...bool) (n int) {
	for _, one := range all {
		if one {
			n++
		}
	}
	return n
}

package firewall

import (
	"regexp"
	"strings"
)

// feature is a part of nf_tables that kernels may be built without, or whose
// module may be missing.
type feature struct {
	word   *regexp.Regexp // how a line of a document needs it
	name   string
	module string // what to load
}

// features are those that our documents need, rare ones first: of a line that
// needs several, the first is the likeliest to be missing.
var features = []feature{
	{regexp.MustCompile(`\bfib (s|d)addr\b`), "nft_fib", "nft_fib_inet"},
	{regexp.MustCompile(`\btproxy\b`), "nft_tproxy", "nft_tproxy"},
	{regexp.MustCompile(`\bsocket\b`), "nft_socket", "nft_socket"},
	{regexp.MustCompile(`\b(j|sym)hash\b`), "nft_hash", "nft_hash"},
	{regexp.MustCompile(`\bnumgen\b`), "nft_numgen", "nft_numgen"},
	{regexp.MustCompile(`\bct count\b`), "nft_connlimit", "nft_connlimit"},
	{regexp.MustCompile(`\bquota\b`), "nft_quota", "nft_quota"},
	{regexp.MustCompile(`\breject\b`), "nft_reject", "nft_reject_inet"},
	{regexp.MustCompile(`\blog\b`), "nft_log", "nft_log"},
	{regexp.MustCompile(`\blimit rate\b`), "nft_limit", "nft_limit"},
	{regexp.MustCompile(`\bmasquerade\b`), "nft_masq", "nft_masq"},
	{regexp.MustCompile(`\bredirect\b`), "nft_redir", "nft_redir"},
	{regexp.MustCompile(`\btype nat hook\b`), "nft_chain_nat", "nft_chain_nat"},
	{regexp.MustCompile(`\b[ds]nat\b`), "nft_nat", "nft_nat"},
	{regexp.MustCompile(`\b(ct|notrack)\b`), "nft_ct", "nft_ct"},
}

// missingFeature returns what the kernel lacks if it refused a line for that: it
// knows no such expression, statement or kind of chain (ENOENT), or not for this
// kind of table (EOPNOTSUPP). All that our documents name is made in them.
func missingFeature(message, line string) (feature, bool) {
	if !strings.Contains(message, "No such file or directory") && !strings.Contains(message, "not supported") {
		return feature{}, false
	}
	for _, f := range features {
		if f.word.MatchString(line) {
			return f, true
		}
	}
	return feature{}, false
}

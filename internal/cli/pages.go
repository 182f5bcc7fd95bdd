// Long texts on a terminal: a page that fits at a time.

package cli

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// printPages prints a text; at a terminal page by page.
func printPages(text string) {
	_, rows, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil || !isTerminal(os.Stdin) {
		fmt.Fprint(stdout, text)
		return
	}
	all := pages(text, max(rows-1, 5)) // the last line is for the question
	in := bufio.NewReader(os.Stdin)
	for i, page := range all {
		fmt.Fprint(stdout, page)
		if i == len(all)-1 {
			return
		}
		fmt.Fprintf(stdout, "-- page %d of %d: Enter goes on, q ends -- ", i+1, len(all))
		if answer, err := in.ReadString('\n'); err != nil || strings.HasPrefix(strings.TrimSpace(answer), "q") {
			return
		}
	}
}

// pages cuts a text between paragraphs into pages of at most rows lines. A heading, and what ends
// with a colon, stays with what follows it. Only what is longer than a page is cut elsewhere.
func pages(text string, rows int) (all []string) {
	var page []string
	lines := func(p []string) int { return strings.Count(strings.Join(p, "\n\n"), "\n") + 2 } // with the blank one after it
	end := func() {
		if len(page) > 0 {
			all = append(all, strings.Join(page, "\n\n")+"\n\n")
		}
		page = nil
	}
	paragraphs := strings.Split(strings.Trim(text, "\n"), "\n\n")
	for i := 0; i < len(paragraphs); {
		n := 1
		for i+n < len(paragraphs) && leads(paragraphs[i+n-1]) && lines(paragraphs[i:i+n+1]) <= rows {
			n++
		}
		for n > 1 && i+n < len(paragraphs) && leads(paragraphs[i+n-1]) {
			n--
		}
		part := paragraphs[i : i+n]
		if lines(append(page[:len(page):len(page)], part...)) > rows {
			end()
		}
		page = append(page, part...)
		for rest := strings.Split(strings.Join(page, "\n\n"), "\n"); len(rest) > rows-1; rest = rest[rows-1:] {
			all = append(all, strings.Join(rest[:rows-1], "\n")+"\n")
			page = []string{strings.Join(rest[rows-1:], "\n")}
		}
		i += n
	}
	end()
	return all
}

// leads tells whether a paragraph belongs to the one after it.
func leads(paragraph string) bool {
	heading := !strings.ContainsAny(paragraph, "\n.:") && !strings.HasPrefix(paragraph, " ")
	return heading || strings.HasSuffix(paragraph, ":")
}

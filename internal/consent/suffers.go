package consent

import (
	"fmt"
	"slices"
	"strings"
)

// What packets are said to be by those who trace them (see host).
const (
	sent, sentEnd = "what visitors of ", " send"
	answersTo     = "the answers to "
	answers       = answersTo + "visitors of "
)

// suffering says in short whose packets a rule concerns: each port is named once, and
// no more than a few are.
func suffering(packets []string) string {
	var visits, answered, others []string
	for _, p := range packets {
		whole, isAnswer := strings.CutPrefix(p, answersTo)
		ports, isVisit := strings.CutPrefix(whole, sent)
		if !isVisit && isAnswer {
			ports, isVisit = strings.CutPrefix(p, answers)
		}
		switch ports = strings.TrimSuffix(ports, sentEnd); {
		case isVisit && isAnswer:
			answered = append(answered, ports)
		case isVisit:
			visits = append(visits, ports)
		default:
			others = append(others, p)
		}
	}
	slices.Sort(visits)
	slices.Sort(answered)
	switch {
	case len(visits) > 0 && slices.Equal(visits, answered):
		others = append(others, "what visitors of "+few(visits)+" send and get")
	default:
		if len(visits) > 0 {
			others = append(others, sent+few(visits)+sentEnd)
		}
		if len(answered) > 0 {
			others = append(others, answers+few(answered))
		}
	}
	return strings.Join(others, ", ")
}

// few names the first of a list.
func few(list []string) string {
	const most = 3
	if len(list) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
	}
	return strings.Join(list, ", ")
}

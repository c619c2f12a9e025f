package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"os"
	"runtime/debug"
	"strconv"

	"github.com/gatelodge/gatelodge/internal/control/ping"
)

// ServeHTTP implements http.Handler for the server in Serve.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if cause := recover(); cause != nil {
			s.panics.Do(func() {
				s.log.Error("a control message made the gate panic", "from", r.RemoteAddr, "path", plain(r.URL.Path), "panic", cause, "stack", string(debug.Stack()))
			})
			s.reply(w, nil, refuse(Internal, "the gate failed on this message; see its log"))
		}
	}()
	answer, err := s.answer(w, r)
	s.reply(w, answer, err)
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) (any, error) {
	from := ping.Source(r.RemoteAddr)
	if !from.IsValid() {
		return nil, refuse(Forbidden, "the sender has no address")
	}
	if !s.sources.Allow(from) {
		return nil, refuse(TooOften, "too many messages from %v; try again in a few seconds", from)
	}
	if err := refuseBrowser(r); err != nil {
		return nil, err
	}
	if err := checkHeader(r.Header); err != nil {
		return nil, err
	}
	m, known := messageAt(r.URL.Path)
	if !known {
		return nil, refuse(UnknownPath, "the gate knows no message %.60q; it may run an older gatelodge than the home", r.URL.Path)
	}
	if r.Method != m.Method {
		w.Header().Set("Allow", m.Method)
		return nil, refuse(Malformed, "this message is sent with %s, not %.20q", m.Method, r.Method)
	}
	if r.Method == http.MethodGet {
		return m.serve(s, r.Context(), from, nil)
	}
	if !s.sources.BeginBody(from) {
		return nil, refuse(TooOften, "too many messages from %v at once; try again in a few seconds", from)
	}
	defer s.sources.EndBody(from)
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	return m.serve(s, r.Context(), from, body)
}

// read decodes a message, a few of them at a time.
func (s *Server) read(body []byte, into any) error {
	s.decode <- struct{}{}
	defer func() { <-s.decode }()
	return decodeRequest(body, into)
}

// refuseBrowser turns away what a web page could send from a browser at home,
// which has the home's address in the tunnel: pages of a rebound DNS name
// show in Host, the others in the headers that browsers add.
func refuseBrowser(r *http.Request) error {
	_, portErr := netip.ParseAddrPort(r.Host)
	_, addrErr := netip.ParseAddr(r.Host)
	if portErr != nil && addrErr != nil || r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
		return refuse(Forbidden, "the control channel is for homes, not for browsers")
	}
	return nil
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" || r.Header.Get("Content-Encoding") != "" {
		return nil, refuse(Malformed, "a message is plain application/json")
	}
	tooLarge := refuse(TooLarge, "a message has at most %d bytes", MaxBody)
	if r.ContentLength > MaxBody {
		w.Header().Set("Connection", "close") // rather than reading to its end
		return nil, tooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return nil, tooLarge
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, refuse(TooSlow, "the message did not arrive within %v", requestTimeout)
	}
	if err != nil {
		return nil, refuse(Malformed, "the message is incomplete")
	}
	return body, nil
}

func (s *Server) enrol(ctx context.Context, from netip.Addr, body []byte) (any, error) {
	var r EnrolRequest
	if err := s.read(body, &r); err != nil {
		return nil, err
	}
	if r.PublicKey.IsZero() {
		return nil, refuse(Malformed, "the message has no public key")
	}
	if !s.sources.BeginEnrol(from) {
		return nil, refuse(TooOften, "only one attempt a second is let through; try again in a few seconds")
	}
	failed := true // also if the gate panics
	defer func() { s.sources.EndEnrol(from, failed) }()
	answer, err := s.gate.Enrol(ctx, from, r.Secret, r.PublicKey)
	if err != nil {
		s.refused.Do(func() { s.log.Warn("an enrolment was refused", "from", from, "error", err) })
		return nil, err
	}
	failed = false
	answer.Version = Version
	return answer, nil
}

func (s *Server) pushInTurn(ctx context.Context, from netip.Addr, body []byte) (any, error) {
	return s.pushes.inTurn(s.push)(ctx, from, body)
}

func (s *Server) push(ctx context.Context, from netip.Addr, body []byte) (any, error) {
	var r PushRequest
	if err := s.read(body, &r); err != nil {
		return nil, err
	}
	forwards, err := r.published()
	if err != nil {
		return nil, err
	}
	answer, err := s.gate.Push(ctx, from, r.Generation, forwards)
	answer.Version = Version
	return answer, err
}

func (s *Server) state(ctx context.Context, from netip.Addr, _ []byte) (any, error) {
	answer, err := s.gate.State(ctx, from)
	answer.Version = Version
	return answer, err
}

// reply sends an answer or a refusal.
func (s *Server) reply(w http.ResponseWriter, answer any, err error) {
	status, text := s.outcome(answer, err)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set(versionHeader, strconv.Itoa(Version))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(text) // a peer that has gone needs no answer
}

// outcome is what is sent for an answer or a refusal. Errors that are no
// refusals may speak of the gate's files, and stay here.
func (s *Server) outcome(answer any, err error) (status int, text []byte) {
	status = http.StatusOK
	if err != nil {
		refusal, ok := errors.AsType[*Error](err)
		if !ok {
			s.refused.Do(func() { s.log.Error("a control message failed", "error", err) })
			refusal = &Error{Internal, "the gate failed on this message; see its log"}
		}
		status, answer = refusal.Code.status(), errorWire{Version, refusal}
	}
	text, err = json.Marshal(answer)
	if err != nil {
		s.log.Error("an answer cannot be sent", "error", err)
		return http.StatusInternalServerError, []byte("{}")
	}
	return status, text
}

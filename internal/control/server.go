package control

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/time/rate"

	"github.com/gatelodge/gatelodge/internal/control/sources"
	"github.com/gatelodge/gatelodge/internal/forward"
	"github.com/gatelodge/gatelodge/internal/key"
)

// Gate is what the server asks. The address from is that of the peer in the
// tunnel, and all there is to know of its identity. Whatever is handed over
// has been validated; errors other than *Error are hidden from the peer.
type Gate interface {
	Enrol(ctx context.Context, from netip.Addr, secret key.Secret, publicKey key.Public) (EnrolResponse, error)
	Push(ctx context.Context, from netip.Addr, generation uint64, forwards []forward.Published) (PushResponse, error)
	State(ctx context.Context, from netip.Addr) (StateResponse, error)
}

// The server's patience.
const (
	headerTimeout   = 5 * time.Second
	requestTimeout  = 10 * time.Second
	responseTimeout = 30 * time.Second
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 2 * time.Second
	maxHeader       = 4 << 10 // bytes
	// maxDecoding messages are decoded at once, of all homes: it takes some
	// milliseconds, and several times the memory of the message.
	maxDecoding = 2
)

// Server answers homes.
type Server struct {
	gate    Gate
	log     *slog.Logger
	sources *sources.Sources
	pushes  *turns
	decode  chan struct{}  // holds a place for each message that is decoded now
	panics  rate.Sometimes // how often to log: a peer could make the disk full
	refused rate.Sometimes
}

// NewServer returns a server for the gate.
func NewServer(gate Gate, logger *slog.Logger) *Server {
	return &Server{
		gate:    gate,
		log:     logger,
		sources: sources.New(), pushes: newTurns(),
		decode:  make(chan struct{}, maxDecoding),
		panics:  rate.Sometimes{First: 1, Interval: time.Minute},
		refused: rate.Sometimes{First: 10, Interval: 10 * time.Second},
	}
}

// Serve answers connections of the listener, which must be in the tunnel,
// until ctx is done; then it lets running requests end and returns nil. It
// closes the listener.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:                      s,
		ReadHeaderTimeout:            headerTimeout,
		ReadTimeout:                  requestTimeout,
		WriteTimeout:                 responseTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeader,
		ErrorLog:                     slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		DisableGeneralOptionsHandler: true,
	}
	ctx, cancel := context.WithCancel(ctx)
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		stopped <- shutdown(server)
	}()
	err := server.Serve(sources.Limit(listener, s.sources))
	cancel()
	if stop := <-stopped; errors.Is(err, http.ErrServerClosed) {
		return stop
	}
	return err
}

// shutdown gives running requests a moment and then ends them.
func shutdown(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return server.Close()
}

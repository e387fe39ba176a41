package app

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/millrace/millrace/internal/clock"
)

// A file that was written is read once it has been left alone for so long: editors write in several steps.
const settle = 200 * time.Millisecond

// watch reloads the hub on o.Reload and, if o asks for it, when one of the files of its configuration
// changes. A reload that fails is logged; the hub goes on as it was.
func (h *hub) watch(o Options) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	changed := make(chan struct{}, 1)
	if o.Watch {
		w, err := fsnotify.NewWatcher()
		if err != nil {
			h.log.Warn("not watching the file; send SIGHUP to reload", "error", err)
		} else {
			wg.Go(func() { h.watchFiles(ctx, w, changed) })
		}
	}
	wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-o.Reload:
			case <-changed:
			}
			if err := h.reload(ctx); err != nil {
				h.log.Error("the changed file is not applied", "error", err)
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

// watchFiles watches the folders of the files, since an editor may put a new file in the place of the old.
func (h *hub) watchFiles(ctx context.Context, w *fsnotify.Watcher, changed chan<- struct{}) {
	defer w.Close() //nolint:errcheck // nothing is lost
	files := map[string]os.FileInfo{}
	add := func() {
		h.mu.Lock()
		names := h.config.Files
		h.mu.Unlock()
		for _, name := range names {
			if _, ok := files[name]; ok {
				continue
			}
			files[name], _ = os.Stat(name)
			if err := w.Add(filepath.Dir(name)); err != nil {
				h.log.Warn("not watching a folder; send SIGHUP to reload", "folder", filepath.Dir(name), "error", err)
			}
		}
	}
	add()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.Events: // of any name: a file may be a link to one that is replaced
			if clock.Sleep(ctx, h.clock, settle) != nil {
				return
			}
			for drained := false; !drained; {
				select {
				case <-w.Events:
				default:
					drained = true
				}
			}
			if differs(files) {
				select {
				case changed <- struct{}{}:
				default:
				}
			}
			add()
		case err := <-w.Errors:
			h.log.Warn("watching the file: some changes may have been missed; send SIGHUP to reload", "error", err)
		}
	}
}

// differs reports whether a file is another one, or of another time or size, than when it was last asked.
func differs(files map[string]os.FileInfo) bool {
	any := false
	for name, was := range files {
		now, _ := os.Stat(name)
		same := was != nil && now != nil && os.SameFile(was, now) && was.Size() == now.Size() && was.ModTime().Equal(now.ModTime())
		if !same && !(was == nil && now == nil) {
			any = true
		}
		files[name] = now
	}
	return any
}

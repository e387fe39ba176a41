package s3

import (
	"container/heap"
	"context"
	"crypto/md5" //nolint:gosec // it is what an eTag is, and protects nothing
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/event"
	"github.com/millrace/millrace/executor"
	"github.com/millrace/millrace/internal/clock"
	"github.com/millrace/millrace/internal/plugin"
	"github.com/millrace/millrace/sources"
)

// directory is a source that watches a folder.
type directory struct {
	config   Config
	deps     plugin.Deps
	path     string // absolute
	filtered prometheus.Counter
}

// maxJobs is how many events of a directory are hashed and handed over at once. It is more than the machine
// has cores, since most of that time is the queue's, which syncs many events in one go.
const maxJobs = 16

// Bounds of the wait before an event that was not accepted is tried again.
const (
	minBackoff = time.Second
	maxBackoff = time.Minute
)

// watcher is a directory that is being watched. Everything but announce runs in the goroutine of Run.
type watcher struct {
	*directory
	hub     sources.Hub
	root    *os.Root
	notify  *fsnotify.Watcher // nil if the system has none to give
	folders map[string]bool   // those that notify watches
	seen    *manifest
	changes map[string]*change // files whose state is not the one in seen
	queue   schedule
	jobs    int // events being announced
	results chan result
	wake    chan struct{} // by the timer
	timer   clock.Timer
	wakeAt  time.Time // when the timer goes off, zero if it does not
	rescan  time.Time // when the next look at everything is due

	blind, failing, unsaved, lost bool // what the log has been told of, once
}

// change is a file that is not as functions know it.
type change struct {
	key   string
	now   stamp     // as it was last seen
	since time.Time // when it was first seen so
	due   time.Time // when it may be announced
	tries int       // that failed
	busy  bool      // being announced, perhaps in an earlier state
	index int       // in the queue, -1 if it is not there
}

// outcome of an attempt to announce a change.
type outcome int

const (
	announced  outcome = iota // durable, or of no interest
	moved                     // not in the state that was to be announced any more
	unreadable                // the file can not be read
	refused                   // the hub did not take the event
)

type result struct {
	change  *change
	stamp   stamp
	outcome outcome
	err     error
}

// Run watches until ctx is done. It fails only if the manifest can not be read or written.
func (d *directory) Run(ctx context.Context, hub sources.Hub) error {
	seen, damaged, err := openManifest(filepath.Join(d.deps.Data, "seen.jsonl"), d.path)
	if err != nil {
		return err
	}
	defer seen.close() //nolint:errcheck // what is lost costs a duplicate
	if damaged > 0 {
		d.deps.Log.Warn("the manifest is damaged; files that it does not know any more are announced again", "path", seen.path, "lines", damaged)
	}
	w := &watcher{
		directory: d, hub: hub, seen: seen, changes: map[string]*change{},
		results: make(chan result), wake: make(chan struct{}, 1),
	}
	defer w.closeRoot()
	w.timer = d.deps.Clock.AfterFunc(time.Hour, func() {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	})
	defer w.timer.Stop()
	for w.step(ctx) {
	}
	for w.jobs > 0 { // what has been taken is handed over
		w.finish(<-w.results)
	}
	return nil
}

// step waits for one thing to happen and sees to it. It returns false once ctx is done.
func (w *watcher) step(ctx context.Context) bool {
	now := w.deps.Clock.Now()
	if !w.rescan.After(now) {
		w.scan()
		w.rescan = now.Add(w.config.RescanInterval)
	}
	w.dispatch(ctx, now)
	w.setTimer()
	var events chan fsnotify.Event
	var errs chan error
	if w.notify != nil {
		events, errs = w.notify.Events, w.notify.Errors
	}
	select {
	case <-ctx.Done():
		return false
	case <-w.wake:
		w.wakeAt = time.Time{}
	case r := <-w.results:
		w.finish(r)
	case e := <-events:
		w.heed(e)
	case <-errs: // most likely more changes than the system could hold
		w.rescan = time.Time{}
	}
	return true
}

// setTimer makes the timer go off when the next thing is due.
func (w *watcher) setTimer() {
	next := w.rescan
	if w.root != nil && len(w.queue) > 0 && w.jobs < maxJobs && w.queue[0].due.Before(next) {
		next = w.queue[0].due
	}
	if !next.Equal(w.wakeAt) {
		w.wakeAt = next
		w.timer.Reset(max(0, next.Sub(w.deps.Clock.Now())))
	}
}

// dispatch starts to announce what is due.
func (w *watcher) dispatch(ctx context.Context, now time.Time) {
	for w.root != nil && w.jobs < maxJobs && len(w.queue) > 0 && !w.queue[0].due.After(now) {
		c := heap.Pop(&w.queue).(*change)
		if !w.look(c.key) { // as known after all, or not yet settled
			continue
		}
		heap.Remove(&w.queue, c.index)
		c.busy = true
		w.jobs++
		root, r := w.root, result{change: c, stamp: c.now}
		go func() {
			r.outcome, r.err = w.announce(ctx, root, c.key, r.stamp)
			w.results <- r
		}()
	}
}

// look compares a file with what functions know of it. It reports whether there is news of it that is due.
func (w *watcher) look(key string) bool {
	if w.root == nil {
		return false
	}
	now := w.deps.Clock.Now()
	info, err := w.root.Lstat(filepath.FromSlash(key))
	var st stamp
	switch {
	case err == nil && info.Mode().IsRegular():
		st = stampOf(info)
	case err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
	default:
		return false // it may still be there
	}
	c := w.changes[key]
	switch {
	case c == nil && st == w.seen.files[key]:
		return false
	case c == nil:
		c = &change{key: key, now: st, since: now, index: -1}
		w.changes[key] = c
	case c.now != st:
		c.now, c.since, c.tries = st, now, 0
	case c.tries > 0:
		w.enqueue(c)
		return !c.busy && !c.due.After(now)
	}
	if !c.busy && c.now == w.seen.files[key] {
		w.forget(c)
		return false
	}
	// A file was complete when it was last written, if it stays so; a time in the future says nothing.
	written := c.since
	if t := time.Unix(0, st.MTime); st != (stamp{}) && t.Before(written) {
		written = t
	}
	c.due = written.Add(w.config.Settle)
	w.enqueue(c)
	return !c.busy && !c.due.After(now)
}

// enqueue puts c where its due time belongs; while it is being announced it has no place.
func (w *watcher) enqueue(c *change) {
	switch {
	case c.busy:
	case c.index < 0:
		heap.Push(&w.queue, c)
	default:
		heap.Fix(&w.queue, c.index)
	}
}

func (w *watcher) forget(c *change) {
	if c.index >= 0 {
		heap.Remove(&w.queue, c.index)
	}
	delete(w.changes, c.key)
}

// finish notes what became of an event.
func (w *watcher) finish(r result) {
	c := r.change
	w.jobs--
	c.busy = false
	switch r.outcome {
	case announced:
		if w.failing {
			w.failing = false
			w.deps.Log.Info("events are accepted again")
		}
		if r.err != nil { // refused for good: there is nobody to hand it back to
			w.deps.Log.Error("an event is refused for good", "key", c.key, "error", r.err)
		}
		if err := w.seen.put(c.key, r.stamp); err != nil && !w.unsaved {
			w.unsaved = true
			w.deps.Log.Warn("the manifest is not written; files may be announced again after a restart", "error", err)
		} else if err == nil {
			w.unsaved = false
		}
		if c.now == r.stamp {
			w.forget(c)
			return
		}
		c.tries = 0
		w.look(c.key)
	case moved:
		w.look(c.key)
		if w.changes[c.key] == c && c.now == r.stamp {
			w.postpone(c, 0) // only the reading says so: the file system is at odds with itself
		}
	case unreadable:
		if c.tries == 0 {
			w.deps.Log.Warn("a file can not be read; it is tried again", "key", c.key, "error", r.err)
		}
		w.postpone(c, 0)
	case refused:
		if !w.failing {
			w.failing = true
			w.deps.Log.Warn("events are not accepted; they are tried again", "error", r.err)
		}
		var e *executor.Error
		var after time.Duration
		if errors.As(r.err, &e) {
			after = e.RetryAfter
		}
		w.postpone(c, after)
	}
}

// postpone makes c due after a wait that doubles with each try.
func (w *watcher) postpone(c *change, after time.Duration) {
	wait := min(minBackoff<<min(c.tries, 10), maxBackoff)
	c.tries++
	c.due = w.deps.Clock.Now().Add(max(wait, after))
	w.enqueue(c)
}

// heed looks at what the system reports.
func (w *watcher) heed(e fsnotify.Event) {
	rel, err := filepath.Rel(w.path, e.Name)
	key := filepath.ToSlash(rel)
	switch {
	case err != nil || key == ".." || strings.HasPrefix(key, "../"):
		return
	case key == ".": // the directory itself has been moved or deleted
		w.rescan = time.Time{}
		return
	case w.ignored(key):
		return
	}
	info, err := w.root.Lstat(rel)
	if w.folders[key] && (err != nil || e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename)) { // gone with all that was in it
		below := key + "/"
		for f := range w.folders {
			if f == key || strings.HasPrefix(f, below) {
				_ = w.notify.Remove(filepath.Join(w.path, filepath.FromSlash(f))) // the system may have done so
				delete(w.folders, f)
			}
		}
		for _, known := range w.known() {
			if strings.HasPrefix(known, below) {
				w.look(known)
			}
		}
	}
	if err == nil && info.IsDir() {
		w.walk(key, nil)
		return
	}
	w.look(key)
}

// ignored reports whether a part of key's path matches a pattern of the configuration.
func (w *watcher) ignored(key string) bool {
	for name := range strings.SplitSeq(key, "/") {
		if w.ignoredName(name) {
			return true
		}
	}
	return false
}

func (w *watcher) ignoredName(name string) bool {
	for _, p := range w.config.Ignore {
		if ok, _ := path.Match(p, name); ok {
			return true
		}
	}
	return false
}

// known lists the keys that functions know of, or are about to.
func (w *watcher) known() []string {
	keys := make([]string, 0, len(w.seen.files))
	for key := range w.seen.files {
		keys = append(keys, key)
	}
	for key := range w.changes {
		if _, ok := w.seen.files[key]; !ok {
			keys = append(keys, key)
		}
	}
	return keys
}

// scan looks at everything: what is there, and what should be.
func (w *watcher) scan() {
	if !w.openRoot() {
		return
	}
	there := make(map[string]bool, len(w.seen.files))
	w.walk(".", there)
	for _, key := range w.known() {
		if !there[key] && !w.ignored(key) { // a key that is ignored was known before its pattern was written
			w.look(key)
		}
	}
}

// walk looks at everything in a folder and watches its folders. What it can not read is left as it is. Files
// are added to there, if it is not nil.
func (w *watcher) walk(folder string, there map[string]bool) {
	_ = fs.WalkDir(w.root.FS(), folder, func(key string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil //nolint:nilerr // gone, or unreadable: the next look tells
		case key != "." && w.ignoredName(entry.Name()):
			if entry.IsDir() {
				return fs.SkipDir
			}
		case entry.IsDir():
			w.watch(key)
		case entry.Type().IsRegular():
			w.look(key)
			if there != nil {
				there[key] = true
			}
		}
		return nil
	})
}

// watch has the system report changes in a folder. It is called before the folder is read, so that nothing
// that appears in between is missed, and may be called again.
func (w *watcher) watch(folder string) {
	if w.notify == nil {
		return
	}
	err := w.notify.Add(filepath.Join(w.path, filepath.FromSlash(folder)))
	switch {
	case err == nil:
		w.folders[folder] = true
	case !errors.Is(err, fs.ErrNotExist) && !w.blind:
		w.blind = true
		w.deps.Log.Warn("not every folder can be watched; changes there are found at each rescanInterval", "folder", folder, "error", err)
	}
}

// openRoot opens the directory, again if another one has taken its place. While there is none, files do not
// count as deleted.
func (w *watcher) openRoot() bool {
	info, err := os.Stat(w.path)
	if err == nil && w.root != nil {
		var have fs.FileInfo
		if have, err = w.root.Stat("."); err == nil && os.SameFile(info, have) {
			return true
		}
	}
	w.closeRoot()
	if err == nil {
		w.root, err = os.OpenRoot(w.path)
	}
	if err != nil {
		if !w.lost {
			w.lost = true
			w.deps.Log.Warn("the directory is not there; waiting for it", "error", err)
		}
		return false
	}
	if w.lost {
		w.lost = false
		w.deps.Log.Info("the directory is back")
	}
	w.folders = map[string]bool{}
	if w.notify, err = fsnotify.NewWatcher(); err != nil {
		w.notify = nil
		if !w.blind {
			w.blind = true
			w.deps.Log.Warn("the directory can not be watched; changes are found at each rescanInterval", "error", err)
		}
	}
	return true
}

func (w *watcher) closeRoot() {
	if w.notify != nil {
		_ = w.notify.Close()
		w.notify = nil
	}
	if w.root != nil {
		_ = w.root.Close()
		w.root = nil
	}
}

// announce makes the event of one change and hands it to the hub. It runs in a goroutine of its own.
func (w *watcher) announce(ctx context.Context, root *os.Root, key string, st stamp) (outcome, error) {
	now := w.deps.Clock.Now()
	rec := event.S3Record{
		Name: "ObjectCreated:Put", Region: w.deps.Region, Time: now,
		PrincipalID: w.deps.Account, SourceIP: "127.0.0.1", RequestID: rand.Text()[:16], HostID: rand.Text(),
		ConfigurationID: w.deps.Name, Bucket: w.config.Bucket, BucketOwner: w.deps.Account, Key: key,
		Size: st.Size,
	}
	if st == (stamp{}) {
		rec.Name = "ObjectRemoved:Delete"
	}
	if !w.config.wants(rec.Name, rec.Bucket, rec.Key) {
		w.filtered.Inc()
		return announced, nil
	}
	if st != (stamp{}) {
		tag, err := sum(ctx, root, key, st)
		switch {
		case errors.Is(err, errMoved) || ctx.Err() != nil:
			return moved, nil
		case err != nil:
			return unreadable, err
		}
		rec.ETag = tag
	}
	// What has come this far is handed over even if the hub is stopping.
	err := w.hub.Accept(context.WithoutCancel(ctx), executor.Request{Payload: event.AppendS3(nil, []event.S3Record{rec})})
	var e *executor.Error
	switch {
	case err == nil:
		return announced, nil
	case errors.As(err, &e) && (e.Kind == executor.TooLarge || e.Kind == executor.Refused):
		return announced, err
	default:
		return refused, err
	}
}

// errMoved says that a file is not, or no longer, in the expected state.
var errMoved = errors.New("the file has changed")

// sum is the eTag of a file, provided that it is in state st from begin to end.
func sum(ctx context.Context, root *os.Root, key string, st stamp) (string, error) {
	// Without blocking, lest a pipe that has taken the file's place holds the goroutine.
	f, err := root.OpenFile(filepath.FromSlash(key), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrClosed) {
		return "", errMoved
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := still(f, st); err != nil {
		return "", err
	}
	hash := md5.New() //nolint:gosec // see the import
	n, err := io.Copy(hash, &canceled{ctx, f})
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", key, err)
	}
	if n != st.Size {
		return "", errMoved
	}
	if err := still(f, st); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

func still(f *os.File, st stamp) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || stampOf(info) != st {
		return errMoved
	}
	return nil
}

// canceled is a reader that ends with its context.
type canceled struct {
	ctx context.Context //nolint:containedctx // an io.Reader has no other place for it
	r   io.Reader
}

func (c *canceled) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// schedule is a heap of changes, earliest due first.
type schedule []*change

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].due.Before(s[j].due) }
func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].index, s[j].index = i, j
}

func (s *schedule) Push(x any) {
	c := x.(*change)
	c.index = len(*s)
	*s = append(*s, c)
}

func (s *schedule) Pop() any {
	old := *s
	c := old[len(old)-1]
	old[len(old)-1] = nil
	*s = old[:len(old)-1]
	c.index = -1
	return c
}

package events_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"github.com/millrace/millrace/stack/stacktest"
)

// While rules, archives and replays come and go, a rule that stays gets every event once, in memory and on disk.
func TestRulesComeAndGoUnderLoad(t *testing.T) {
	t.Parallel()
	for _, durable := range []bool{false, true} {
		t.Run(fmt.Sprintf("durable=%t", durable), func(t *testing.T) {
			t.Parallel()
			k := stacktest.New(t)
			if durable {
				s := open(t, t.TempDir())
				defer s.Close()
				k = stacktest.On(t, s)
				defer k.Stop()
			}
			w := worldOn(t, k, nil)
			bus := w.bus("b")
			w.rule("b", "stays", `{"source":["shop"]}`, target("1", queueARN))
			const clients, each = 6, 25
			done := make(chan struct{})
			var senders, changer sync.WaitGroup
			for range clients {
				senders.Go(func() {
					for range each {
						w.put("b", "shop", "{}")
					}
				})
			}
			changer.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-done:
						return
					default:
					}
					name := fmt.Sprintf("n%d", i)
					w.rule("b", name, anything, target("1", queueARN+"-other"))
					archive := w.archive(name, bus)
					must[*eventbridge.StartReplayOutput](w)(w.client.StartReplay(t.Context(), replayOf(name, archive, bus, w.Clock.Now())))
					must[*eventbridge.DeleteArchiveOutput](w)(w.client.DeleteArchive(t.Context(), &eventbridge.DeleteArchiveInput{ArchiveName: &name}))
					must[*eventbridge.RemoveTargetsOutput](w)(w.client.RemoveTargets(t.Context(), &eventbridge.RemoveTargetsInput{Rule: &name, EventBusName: aws.String("b"), Ids: []string{"1"}}))
					must[*eventbridge.DeleteRuleOutput](w)(w.client.DeleteRule(t.Context(), &eventbridge.DeleteRuleInput{Name: &name, EventBusName: aws.String("b")}))
					w.replayed(name)
				}
			})
			senders.Wait()
			close(done)
			changer.Wait()
			seen := map[string]int{}
			for _, d := range w.Delivered() {
				if x := read(t, d.Message.Body); d.Target == queueARN && x.ReplayName == "" {
					seen[x.ID]++
				}
			}
			for id, n := range seen {
				if n != 1 {
					t.Errorf("event %s was delivered %d times", id, n)
				}
			}
			if len(seen) != clients*each {
				t.Errorf("%d of %d events were delivered", len(seen), clients*each)
			}
		})
	}
}

func replayOf(name, archive, bus string, now time.Time) *eventbridge.StartReplayInput {
	return &eventbridge.StartReplayInput{ReplayName: &name, EventSourceArn: &archive, EventStartTime: aws.Time(now.Add(-time.Hour)),
		EventEndTime: aws.Time(now.Add(time.Hour)), Destination: &types.ReplayDestination{Arn: &bus}}
}

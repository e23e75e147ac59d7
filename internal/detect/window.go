package detect

import "time"

// window remembers the last occurrences of one key: as many as the threshold, so that "N within W" is one comparison
// of the newest with the oldest.
//
// An occurrence is evidence of one alert only: when the window fires it forgets what it holds and counts anew. It does
// not fire again until its length has passed since; what comes in between is counted, so that an attack which goes on
// is reported once a window.
type window struct {
	hits  []hit // oldest first, at most Count
	fired time.Duration
	quiet bool // fired holds a time
}

// hit is one occurrence: when, on the clock of the table, and the sequence number of its event.
type hit struct {
	at  time.Duration
	seq uint64
}

// add counts one occurrence. When it completes the threshold, the evidence is returned. It may come out of order.
func (w *window) add(h hit, t Threshold) []hit {
	i := len(w.hits)
	for i > 0 && w.hits[i-1].at > h.at {
		i--
	}
	if len(w.hits) < t.Count {
		w.hits = append(w.hits, hit{})
		copy(w.hits[i+1:], w.hits[i:])
		w.hits[i] = h
	} else if i > 0 { // else it is older than all that matters
		copy(w.hits, w.hits[1:i])
		w.hits[i-1] = h
	}
	last := len(w.hits) - 1
	if last+1 < t.Count || w.hits[last].at-w.hits[0].at > t.Window {
		return nil
	}
	if w.quiet && w.hits[last].at-w.fired < t.Window {
		return nil
	}
	evidence := w.hits
	w.hits, w.fired, w.quiet = nil, evidence[last].at, true
	return evidence
}

// episodeLength is how long a run of refusals without a pause counts as one episode, and how long a pause ends it.
const episodeLength = time.Minute

// episode is the run of refusals of one key.
type episode struct {
	start time.Duration // when its current minute began
	last  time.Duration // the latest refusal
	open  bool
}

// refused takes one refusal and reports whether it counts: it starts an episode, or the run has lasted another minute.
// One that comes late belongs to the run that is known already.
func (e *episode) refused(at time.Duration) bool {
	switch {
	case !e.open || at-e.last >= episodeLength:
		*e = episode{start: at, last: at, open: true}
		return true
	case at <= e.last:
		return false
	}
	e.last = at
	if at-e.start < episodeLength {
		return false
	}
	e.start += episodeLength * ((at - e.start) / episodeLength)
	return true
}

// disorder is how much later than a younger event an event may arrive and still be believed to have happened before.
const disorder = time.Minute

// clock turns the times of events into times that do not jump back. Events within a minute of the latest one keep
// their own time and are put in order. An event further back means that the wall clock was set back: it counts as
// happening right after the latest one, and all later ones are shifted by as much. So a step back neither hides
// occurrences that are already counted nor lets a window fire twice. A step forward cannot be told from time passing.
type clock struct {
	start  time.Time
	offset time.Duration
	latest time.Duration
}

func (c *clock) at(t time.Time) time.Duration {
	if c.start.IsZero() {
		c.start = t
	}
	at := t.Sub(c.start) + c.offset
	if at < c.latest-disorder {
		c.offset += c.latest - at
		at = c.latest
	}
	c.latest = max(c.latest, at)
	return at
}

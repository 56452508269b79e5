package messaging

import (
	"encoding/json"
	"fmt"
	"time"
)

const cloudEventType = "application/cloudevents+json"

// cloudEvent is a domain event as the world sees it, CloudEvents 1.0 in its JSON format
// (https://github.com/cloudevents/spec). sequence follows its "Sequence" extension: a string that
// sorts as it rises.
type cloudEvent struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Subject         string          `json:"subject"`
	Time            time.Time       `json:"time"`
	DataContentType string          `json:"datacontenttype"`
	CorrelationID   string          `json:"correlationid,omitempty"`
	Traceparent     string          `json:"traceparent,omitempty"`
	Sequence        string          `json:"sequence"`
	Data            json.RawMessage `json:"data"`
}

func (r outboxRow) cloudEvent() ([]byte, error) {
	return json.Marshal(cloudEvent{
		SpecVersion: "1.0", ID: r.ID.String(), Source: "/user-service/" + r.Source, Type: r.Topic, Subject: r.Subject,
		Time: r.CreatedAt.UTC(), DataContentType: "application/json", CorrelationID: r.CorrelationID,
		Traceparent: r.Traceparent, Sequence: fmt.Sprintf("%010d", r.Sequence), Data: r.Data,
	})
}

// Told is a domain event as a queue brings it.
type Told struct {
	Type string
	Time time.Time
	Data json.RawMessage
}

// ReadEvent gives the event that a message is; Permanent `malformed` when it is none.
func ReadEvent(d Delivery) (Told, error) {
	var e cloudEvent
	if err := json.Unmarshal(d.Body, &e); err != nil || e.Type == "" {
		return Told{}, &Permanent{Reason: "malformed", Detail: "the body is no event in the JSON format of CloudEvents"}
	}
	return Told{e.Type, e.Time, e.Data}, nil
}

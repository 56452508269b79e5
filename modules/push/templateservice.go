package push

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"user-service/messaging"
)

const (
	renderWithin = 5 * time.Second
	renderPath   = "/api/v1/templates/render"
)

// TemplateService has another service make the texts.
type TemplateService struct {
	url string
	poster
}

// NewTemplateService asks at base, and keeps as many connections open as texts are made at once.
func NewTemplateService(base string, concurrency int) *TemplateService {
	return &TemplateService{strings.TrimSuffix(base, "/") + renderPath, newPoster(concurrency, anyHTTP(), renderWithin)}
}

// rendered are its texts, behind a breaker and with those of the last minute at hand.
type rendered struct {
	service *TemplateService
	breaker *breaker
	recent  *recentTexts
	asking  singleflight.Group
}

func newRendered(s *TemplateService, attempts int, log *slog.Logger) *rendered {
	return &rendered{service: s, breaker: newBreaker("template-service", attempts, log), recent: newRecentTexts()}
}

func (r *rendered) breakers() []*breaker { return []*breaker{r.breaker} }

func (r *rendered) collectors() []prometheus.Collector { return r.breaker.collectors() }

type renderRequest struct {
	TemplateID string         `json:"template_id"`
	Language   string         `json:"language,omitempty"`
	Variables  map[string]any `json:"variables"`
}

// render implements texter. Who wants the same text at the same time gets it of one request.
func (r *rendered) render(ctx context.Context, code, language string, variables map[string]any) (Text, error) {
	if variables == nil {
		variables = map[string]any{}
	}
	body, err := json.Marshal(renderRequest{code, language, variables})
	if err != nil {
		return Text{}, &messaging.Permanent{Reason: "template_failed", Detail: "the variables cannot be written as JSON"}
	}
	key := sha256.Sum256(body)
	if text, known := r.recent.get(key, time.Now()); known {
		return text, nil
	}
	made, err, _ := r.asking.Do(string(key[:]), func() (any, error) {
		var text Text
		ctx := context.WithoutCancel(ctx) // others wait for it too; an answer comes within renderWithin, or none
		err := quickly(ctx, func() error {
			return r.breaker.try(func() (err error) {
				text, err = r.service.ask(ctx, code, body)
				return err
			})
		})
		if err == nil {
			r.recent.put(key, text, time.Now())
		}
		return text, err
	})
	text, _ := made.(Text)
	return text, err
}

func (s *TemplateService) ask(ctx context.Context, code string, body []byte) (Text, error) {
	a, err := s.post(ctx, s.url, passOn(ctx), body)
	if err != nil {
		return Text{}, err
	}
	return judgeRender(a, code)
}

// judgeRender believes a verdict on the template or its variables only where the service itself gave
// it, as JSON, and not a proxy in front of it.
func judgeRender(a answer, code string) (Text, error) {
	var reply struct {
		Message, Detail string
		Data            struct {
			Title, Subject, Body string
			BodyText             string `json:"body_text"`
		}
	}
	refusal := fmt.Errorf("the template service answered %d", a.status)
	if err := json.Unmarshal(a.body, &reply); err != nil {
		return Text{}, a.later(fmt.Errorf("%w, and not by JSON", refusal))
	}
	text := Text{cmp.Or(reply.Data.Title, reply.Data.Subject), cmp.Or(reply.Data.Body, reply.Data.BodyText)}
	switch {
	case a.status/100 == 2 && text != Text{}:
		return text, nil
	case a.status/100 == 2:
		return Text{}, &Rejected{"template_failed", "the template service answered without data.title and data.body"}
	case a.status == http.StatusNotFound:
		return Text{}, &Rejected{"unknown_template", fmt.Sprintf("the template service knows no template %q", code)}
	case a.isFinal():
		return Text{}, &Rejected{"template_failed", refusal.Error() + ": " + cmp.Or(reply.Message, reply.Detail, "no reason given")}
	}
	return Text{}, a.later(refusal)
}

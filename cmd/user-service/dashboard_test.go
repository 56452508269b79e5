package main

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"user-service/platform/servertest"
)

const (
	dashboardFile = "../../docker/grafana/dashboards/user-service.json"
	alertsFile    = "../../docker/prometheus/alerts.yaml"
)

type dashboard struct {
	UID    string
	Title  string
	Panels []struct {
		ID      int
		Type    string
		Title   string
		Targets []struct{ Expr string }
	}
}

type alerts struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert       string
			Expr        string
			For         string
			Labels      map[string]string
			Annotations map[string]string
		}
	}
}

func readDashboard(t testing.TB) (d dashboard) {
	t.Helper()
	content, err := os.ReadFile(dashboardFile)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(content, &d))
	return d
}

func readAlerts(t testing.TB) (a alerts) {
	t.Helper()
	content, err := os.ReadFile(alertsFile)
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(content, &a))
	return a
}

// exposesAllThatIsShown holds the expressions of dashboard and alerts against what a running service exposes. What a
// scrape leaves out, since its server was slow, is in another.
func (i *instance) exposesAllThatIsShown() {
	i.t.Helper()
	missing := map[string]string{} // by name, where it is used
	use := func(where, expression string) {
		names := metricsOf(expression)
		require.NotEmpty(i.t, names, where)
		for _, name := range names {
			missing[name] = where
		}
	}
	for _, panel := range readDashboard(i.t).Panels {
		for _, target := range panel.Targets {
			use("panel "+panel.Title, target.Expr)
		}
	}
	for _, group := range readAlerts(i.t).Groups {
		for _, rule := range group.Rules {
			use("alert "+rule.Alert, rule.Expr)
		}
	}
	delete(missing, "up") // of Prometheus itself
	servertest.Eventually(i.t, func() bool {
		for name := range i.scrape().names() {
			delete(missing, name)
		}
		return len(missing) == 0
	}, "the service exposes %v", missing)
}

func TestDashboardCanBeImported(t *testing.T) {
	t.Parallel()
	d := readDashboard(t)
	require.Equal(t, "user-service", d.UID)
	require.NotEmpty(t, d.Title)
	ids := map[int]bool{}
	for _, panel := range d.Panels {
		require.NotEmpty(t, panel.Title)
		require.False(t, ids[panel.ID], "%s shares its id", panel.Title)
		ids[panel.ID] = true
		require.Equal(t, panel.Type == "row", len(panel.Targets) == 0, panel.Title)
	}
}

func TestEveryAlertSaysWhatIsWrongAndWhatToDo(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, group := range readAlerts(t).Groups {
		for _, rule := range group.Rules {
			require.False(t, names[rule.Alert], "%s stands twice", rule.Alert)
			names[rule.Alert] = true
			require.Regexp(t, `^[A-Z][A-Za-z]+$`, rule.Alert)
			require.Contains(t, []string{"critical", "warning"}, rule.Labels["severity"], rule.Alert)
			require.Regexp(t, `^.{20,}\.$`, rule.Annotations["summary"], rule.Alert)
			require.Regexp(t, `^[A-Z].{30,}\.$`, rule.Annotations["runbook"], rule.Alert)
		}
	}
	require.Greater(t, len(names), 5)
}

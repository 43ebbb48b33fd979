package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/rogpeppe/go-internal/testscript"
)

// fetch returns the status and the body of a page.
func fetch(url string) (int, string, error) {
	client := http.Client{Timeout: awaitTimeout}
	defer client.CloseIdleConnections()
	resp, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func cmdHTTPGet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: http-get STATUS URL")
	}
	status, body, err := fetch(args[1])
	ts.Check(err)
	if fmt.Sprint(status) != args[0] {
		ts.Fatalf("%s answers %d, want %s:\n%s", args[1], status, args[0], body)
	}
	_, err = fmt.Fprint(ts.Stdout(), body)
	ts.Check(err)
}

// cmdAwaitMetric waits until a metric has a value: sessions end a little after their
// peers do.
func cmdAwaitMetric(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: await-metric URL SERIES VALUE")
	}
	for deadline := time.Now().Add(awaitTimeout); ; time.Sleep(5 * time.Millisecond) {
		all, page, err := scrape(args[0])
		ts.Check(err)
		if got := fmt.Sprint(all[args[1]]); got == args[2] {
			return
		} else if time.Now().After(deadline) {
			ts.Fatalf("%s is %s, want %s; all are\n%s", args[1], got, args[2], page)
		}
	}
}

// scrape reads what Prometheus would, and has its linter look at what is godwit's:
// series with their labels, and values of counters and gauges.
func scrape(url string) (map[string]float64, string, error) {
	status, page, err := fetch(url)
	if err != nil || status != http.StatusOK {
		return nil, page, fmt.Errorf("%s answers %d: %v", url, status, err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page))
	if err != nil {
		return nil, page, err
	}
	all, own := map[string]float64{}, []*dto.MetricFamily{}
	for name, f := range families {
		if !strings.HasPrefix(name, "godwit_") {
			continue
		}
		own = append(own, f)
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			series := name
			if labels != nil {
				series += "{" + strings.Join(labels, ",") + "}"
			}
			all[series] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	problems, err := promlint.NewWithMetricFamilies(own).Lint()
	if err == nil && len(problems) > 0 {
		err = fmt.Errorf("the linter says %v", problems)
	}
	return all, page, err
}
